"""Likelihoods: the law of targets given the outputs of a network, with its mean and variance.

| likelihood                    | outputs f                  | targets y             | law                             |
|-------------------------------|----------------------------|-----------------------|---------------------------------|
| `gaussian(noise_std=σ)`       | [n] or [n, o]              | like f                | N(f, σ²) for every output       |
| `categorical()`               | logits [n, c]              | classes [n], integers | softmax(f)_y                    |
| `bernoulli()`                 | logits [n] or [n, 1]       | 0 or 1, like f        | σ(f)^y (1 − σ(f))^{1−y}         |

A noise scale may be learned: `gaussian(noise_std=likelihoods.log_normal(.1, 1.))`. Its logarithm is then one more leaf of the
tree that is sampled (`Posterior`), and the prior is a density of log σ, so that no Jacobian is left over.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath import check

__all__ = [
    "Bernoulli", "Categorical", "Gaussian", "NoisePrior", "bernoulli", "categorical", "gamma_precision", "gaussian",
    "half_cauchy", "log_normal",
]  # fmt: skip


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NoisePrior:
    """A density of t = log σ; made by `log_normal`, `half_cauchy` or `gamma_precision`.

    Attributes:
        first: the median of σ, the scale, or the shape of the gamma law.
        second: the standard deviation of t, or the rate of the gamma law; None for the half-Cauchy.
        family: static.
    """

    first: Any
    second: Any = None
    family: str = field(default="log_normal", metadata={"static": True})

    def log_density(self, log_noise: Any) -> Any:
        """The log density of t, normalised over t."""
        t = log_noise
        if self.family == "log_normal":
            z = (t - jnp.log(self.first)) / self.second
            return -0.5 * jnp.square(z) - jnp.log(self.second) - 0.5 * math.log(2 * math.pi)
        if self.family == "half_cauchy":
            # 2/(πs(1 + σ²/s²)) · σ
            u = t - jnp.log(self.first)
            return math.log(2 / math.pi) + u - jax.nn.softplus(2 * u)
        # Precision β = e^{−2t} of law Gamma(a, b), and |dβ/dt| = 2β.
        a, b = self.first, self.second
        return a * jnp.log(b) - jax.lax.lgamma(jnp.asarray(a, float)) - 2 * a * t - b * jnp.exp(-2 * t) + math.log(2.0)

    def sample(self, key: Any, dtype: Any = float) -> Any:
        """A draw of t."""
        if self.family == "log_normal":
            return jnp.log(self.first) + self.second * jax.random.normal(key, (), dtype)
        if self.family == "half_cauchy":
            return jnp.log(self.first) + jnp.log(jnp.abs(jax.random.cauchy(key, (), dtype)))
        return -0.5 * (jnp.log(jax.random.gamma(key, self.first, (), dtype)) - jnp.log(self.second))


def log_normal(median: Any, spread: Any = 1.0) -> NoisePrior:
    """The prior log σ ~ N(log median, spread²).

    >>> round(float(log_normal(1.0).log_density(0.0)), 4)                  # −½ log 2π
    -0.9189
    """
    return NoisePrior(check.real("median", median, above=0.0), check.real("spread", spread, above=0.0))


def half_cauchy(scale: Any) -> NoisePrior:
    """The prior σ ~ half-Cauchy(scale)."""
    return NoisePrior(check.real("scale", scale, above=0.0), None, "half_cauchy")


def gamma_precision(shape: Any, rate: Any) -> NoisePrior:
    """The prior 1/σ² ~ Gamma(shape, rate), of mean shape/rate.

    References: Hernández-Lobato & Adams (2015), Probabilistic backpropagation (both 6 there).
    """
    shape, rate = check.real("shape", shape, above=0.0), check.real("rate", rate, above=0.0)
    return NoisePrior(shape, rate, "gamma_precision")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gaussian:
    """y ~ N(f, σ²), independent over outputs; made by `gaussian`.

    Attributes:
        noise_std: σ, or a `NoisePrior` where it is learned.
    """

    noise_std: Any

    @property
    def learned(self) -> bool:
        """Whether log σ is sampled."""
        return isinstance(self.noise_std, NoisePrior)

    def std(self, log_noise: Any = None) -> Any:
        """σ."""
        return jnp.exp(log_noise) if self.learned else self.noise_std

    def log_density(self, outputs: Any, y: Any, log_noise: Any = None) -> Float[Array, " n"]:
        """The log densities p(yᵢ | fᵢ), summed over outputs, [n]."""
        y = _like_outputs(outputs, y)
        sigma = jnp.asarray(self.std(log_noise), outputs.dtype)
        terms = -0.5 * jnp.square((y - outputs) / sigma) - jnp.log(sigma) - 0.5 * math.log(2 * math.pi)
        return terms.sum(tuple(range(1, terms.ndim)))

    def mean(self, outputs: Any) -> Any:
        """E[y | f] = f."""
        return outputs

    def variance(self, outputs: Any, log_noise: Any = None) -> Any:
        """Var[y | f] = σ², like the outputs."""
        return jnp.full_like(outputs, jnp.square(self.std(log_noise)))

    def check_targets(self, y: Any) -> Any:
        """Targets as an array; ValueError unless finite."""
        y = check.array("y", y)
        return jnp.asarray(y, float) if jnp.issubdtype(y.dtype, jnp.integer) else jnp.asarray(y)

    def check_outputs(self, outputs: Any, y: Any) -> None:
        """ValueError unless outputs (abstract) fit the targets."""
        _like_outputs(outputs, y)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Categorical:
    """y ~ softmax(f); made by `categorical`."""

    learned = False

    def log_density(self, outputs: Any, y: Any, log_noise: Any = None) -> Float[Array, " n"]:
        """The log densities softmax(fᵢ)_{yᵢ}, [n]; NaN for a label out of range."""
        # A mask instead of a gather: its transpose is no scatter, which CPUs and TPUs do slowly.
        chosen = jax.nn.one_hot(y, outputs.shape[-1], dtype=bool)
        density = jnp.sum(jnp.where(chosen, jax.nn.log_softmax(outputs), 0), axis=-1)
        return jnp.where((y >= 0) & (y < outputs.shape[-1]), density, jnp.nan)

    def mean(self, outputs: Any) -> Any:
        """The class probabilities [n, c]."""
        return jax.nn.softmax(outputs)

    def variance(self, outputs: Any, log_noise: Any = None) -> Any:
        """p(1 − p), the variance of each one-hot entry [n, c]."""
        p = self.mean(outputs)
        return p * (1 - p)

    def check_targets(self, y: Any) -> Any:
        """Labels as an array; ValueError for negative ones, TypeError unless integers."""
        y = check.array("y", y, ndim=1)
        if not jnp.issubdtype(y.dtype, jnp.integer):
            raise TypeError(f"y must be integer class labels, got dtype {y.dtype}; cast them with .astype(int)")
        if not check.is_traced(y) and np.asarray(y).min() < 0:
            raise ValueError(f"y must be class labels of at least 0, got {np.asarray(y).min()}")
        return jnp.asarray(y)

    def check_outputs(self, outputs: Any, y: Any) -> None:
        """ValueError unless outputs (abstract) are logits of classes that hold every label."""
        if len(outputs.shape) != 2 or outputs.shape[0] != y.shape[0]:
            raise ValueError(
                f"apply must return logits [{y.shape[0]}, classes] for categorical(), got shape {outputs.shape}"
            )
        if not check.is_traced(y) and np.asarray(y).max() >= outputs.shape[-1]:
            raise ValueError(
                f"y must be class labels below the number of outputs of apply, {outputs.shape[-1]}, got"
                f" {np.asarray(y).max()}"
            )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Bernoulli:
    """y ~ Bernoulli(σ(f)); made by `bernoulli`."""

    learned = False

    def log_density(self, outputs: Any, y: Any, log_noise: Any = None) -> Float[Array, " n"]:
        """The log densities σ((2y − 1)f), summed over outputs, [n]."""
        y = _like_outputs(outputs, y)
        terms = jax.nn.log_sigmoid(jnp.where(y > 0, outputs, -outputs))
        return terms.sum(tuple(range(1, terms.ndim)))

    def mean(self, outputs: Any) -> Any:
        """The probabilities of y = 1, like the outputs."""
        return jax.nn.sigmoid(outputs)

    def variance(self, outputs: Any, log_noise: Any = None) -> Any:
        """p(1 − p)."""
        return jax.nn.sigmoid(outputs) * jax.nn.sigmoid(-outputs)

    def check_targets(self, y: Any) -> Any:
        """Labels as an array; ValueError unless 0 or 1."""
        y = check.array("y", y)
        if not check.is_traced(y) and not np.isin(np.asarray(y), (0, 1)).all():
            values = np.unique(np.asarray(y))
            raise ValueError(f"y must be labels 0 or 1 for bernoulli(), got values from {values[0]} to {values[-1]}")
        return jnp.asarray(y)

    def check_outputs(self, outputs: Any, y: Any) -> None:
        """ValueError unless outputs (abstract) fit the targets."""
        _like_outputs(outputs, y)


Likelihood = Gaussian | Categorical | Bernoulli


def gaussian(noise_std: Any) -> Gaussian:
    """The likelihood y ~ N(f, σ²), independent over outputs.

    Args:
        noise_std: σ > 0, or a `NoisePrior` (`log_normal`, `half_cauchy`, `gamma_precision`) to learn it.

    Raises:
        ValueError: for σ that is not positive and finite.

    >>> print(gaussian(1.0).log_density(jnp.zeros((2, 1)), jnp.ones((2, 1))).round(4))         # −½ − ½ log 2π
    [-1.4189 -1.4189]
    """
    return Gaussian(noise_std if isinstance(noise_std, NoisePrior) else check.real("noise_std", noise_std, above=0.0))


def categorical() -> Categorical:
    """The likelihood of class labels, softmax(f)_y.

    >>> print(categorical().log_density(jnp.zeros((1, 4)), jnp.array([3])).round(4))           # −log 4
    [-1.3863]
    """
    return Categorical()


def bernoulli() -> Bernoulli:
    """The likelihood of labels 0 and 1, of which 1 has probability σ(f).

    >>> print(bernoulli().log_density(jnp.zeros(1), jnp.ones(1)).round(4))                     # −log 2
    [-0.6931]
    """
    return Bernoulli()


def _like_outputs(outputs: Any, y: Any) -> Any:
    if outputs.shape != y.shape:
        raise ValueError(
            f"y must have the shape of the outputs of apply, {outputs.shape}, got {y.shape}"
            + ("; add an axis with y[:, None]" if len(outputs.shape) == len(y.shape) + 1 else "")
        )
    return y
