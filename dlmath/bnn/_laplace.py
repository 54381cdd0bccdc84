"""Laplace's approximation: a Gaussian at the mode, its precision the Gauss-Newton matrix plus that of the prior."""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dlmath import check
from dlmath.bnn import _laplace_structures as structures
from dlmath.bnn._posterior import Posterior, checked_start
from dlmath.bnn._predict import Predictive, checked_points
from dlmath.bnn._samples import Samples, samples_of
from dlmath.bnn.likelihoods import Bernoulli, Categorical, Gaussian
from dlmath.bnn.priors import leaf_paths
from dlmath.typing import Key, Params

STRUCTURES = ("full", "diagonal", "kronecker", "last_layer", "low_rank")
LINKS = ("probit", "monte_carlo")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Laplace:
    """N(θ*, Λ⁻¹) in the place of a posterior; made by `laplace`. A pytree.

    Attributes:
        posterior: what is approximated.
        params: θ*.
        factors: what the structure keeps of Λ.
        log_evidence: log ∫ e^{−U} = −U(θ*) + (d/2) log 2π − ½ log det Λ, over the d parameters that vary; at T = T_l = 1
            the log marginal likelihood of the data (for "last_layer", times the prior density of what is fixed).
        gradient_norm: ‖∇U(θ*)‖, which is 0 at a mode.
        structure: of `STRUCTURES`; static.
        selected: for each leaf whether it varies; static.
    """

    posterior: Posterior
    params: Params
    factors: Any
    log_evidence: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    structure: str = field(metadata={"static": True})
    selected: tuple[bool, ...] = field(metadata={"static": True})

    def sample(self, key: Key, num_draws: int) -> Samples:
        """Draws θ* + Λ^{−½}z as Samples of one chain.

        Networks of such draws predict worse than the linearised one (`predict`), since the Gaussian is that of the
        linearised network: Immer et al. (2021).
        """
        check.key("key", key)
        draws = _draws(key, self, num_draws=check.positive_int("num_draws", num_draws))
        return samples_of(self.posterior, jax.tree.map(lambda leaf: leaf[None], draws))

    def output_law(self, x: Any) -> tuple[Any, Any]:
        """(mean f_θ*(x) [n, o], covariance J Λ⁻¹ Jᵀ [n, o, o]) of the outputs of the linearised network, per input."""
        x, _ = checked_points(self.posterior, self.params, x, None)
        return _output_law(self, x)

    def predict(
        self, x: Any, y: Any = None, *, link: str = "probit", key: Any = None, num_draws: int = 256
    ) -> Predictive:
        """The predictive law of the linearised network f_θ*(x) + J(x)(θ − θ*).

        Exact for Gaussian noise. For class labels the Gaussian of the logits meets the softmax (or sigmoid):

        - "probit": softmax(μ/√(1 + π diag(Σ)/8)), MacKay's approximation;
        - "monte_carlo": `num_draws` draws of logits.

        Args:
            x: n inputs.
            y: targets at which the density is wanted, or None.
            link: see above; Gaussian likelihoods need none.
            key: typed key, of "monte_carlo" alone.
            num_draws: of "monte_carlo".

        References: Khan et al. (2019), Approximate inference turns deep networks into Gaussian processes;
            Immer et al. (2021), Improving predictions of Bayesian neural nets via local linearization;
            MacKay (1992), The evidence framework applied to classification networks.
        """
        check.one_of("link", link, LINKS)
        num_draws = check.positive_int("num_draws", num_draws)
        x, y = checked_points(self.posterior, self.params, x, y)
        if link == "monte_carlo" and not isinstance(self.posterior.likelihood, Gaussian):
            check.key("key", key)
        else:
            key = None
        return _linearized_predictive(self, x, y, key, num_draws=num_draws)


def laplace(
    posterior: Posterior,
    params: Params,
    *,
    structure: str = "full",
    rank: int | None = None,
    last_layer: str | None = None,
) -> Laplace:
    """Laplace's approximation N(θ*, Λ⁻¹) of e^{−U}, with Λ = (G/T_l + P)/T.

    G = JᵀSJ is the Gauss-Newton matrix of −log p(y | x, θ) (`hessian.ggn`), P the precision of the normal prior. For a linear
    network with Gaussian noise it is the posterior itself, and the evidence is exact.

    | structure    | Λ                                                            | time, memory beside a gradient     |
    |--------------|--------------------------------------------------------------|------------------------------------|
    | "full"       | all of it                                                    | P products, P³; P²                 |
    | "diagonal"   | its diagonal, exact                                          | n·o gradients; P                   |
    | "kronecker"  | for each weight [a, b] L ⊗ R/tr L (see below) plus its prior | n·o gradients, a³ + b³; a² + b²    |
    | "last_layer" | the block of one layer, the others fixed                     | d products, d³; d²                 |
    | "low_rank"   | P^½ (I + VᵀΛ_kV) P^½, the k largest pairs of P^{−½}GP^{−½}   | Lanczos products; kP               |

    The Kronecker factors of a weight [..., a, b] with per-example Jacobians M (root of S included) are L = Σ MMᵀ and R = Σ MᵀM:
    the first step of the power iteration that finds the nearest Kronecker product, which keeps the trace, and is exact
    where the block is such a product (a linear network). A bias has its full block.

    Args:
        posterior: with a normal prior and no learned noise.
        params: θ*, a mode (`mode`); elsewhere the Gaussian is centred where no maximum is, see `gradient_norm`.
        structure: see above.
        rank: k of "low_rank", at most P.
        last_layer: path of the layer of "last_layer"; None for that of the last leaf ("2" for "2/weight"). Dictionaries
            are sorted by key, so that "Dense_10" precedes "Dense_2": name it then.

    Raises:
        ValueError: for an unknown structure, an option of another structure, a prior that is not normal, or noise that
            is learned; and as `mode` says.

    >>> from dlmath.bnn import likelihoods, posterior, priors
    >>> data = jnp.ones((1, 1)), 2 * jnp.ones((1, 1))
    >>> p = posterior(lambda w, x: x @ w, priors.normal(1.0), likelihoods.gaussian(1.0), data)
    >>> print(round(float(laplace(p, jnp.ones((1, 1))).log_evidence), 4))         # log N(2; 0, 2)
    -2.2655

    References:
        MacKay (1992), A practical Bayesian framework for backpropagation networks.
        Ritter et al. (2018), A scalable Laplace approximation (Kronecker factors); Daxberger et al. (2021), Laplace redux.
        Spantini et al. (2015), Optimal low-rank approximations of Bayesian linear inverse problems (low rank).
    """
    check.one_of("structure", structure, STRUCTURES)
    params = checked_start(posterior, params)
    if posterior.likelihood.learned:
        raise ValueError(
            "posterior must have a known noise scale, got a learned one; give"
            " likelihoods.gaussian(noise_std=float(jnp.exp(mode.params['log_noise']))) and params['network']"
        )
    if (rank is not None) != (structure == "low_rank"):
        raise ValueError(f"rank must be given for structure='low_rank' and for it alone, got {rank} with {structure!r}")
    if last_layer is not None and structure != "last_layer":
        raise ValueError(f"last_layer is an option of structure='last_layer', got {last_layer!r} with {structure!r}")
    posterior.prior.precisions(params)
    selected = chosen(params, last_layer) if structure == "last_layer" else (True,) * len(jax.tree.leaves(params))
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    rank = None if rank is None else check.integer("rank", rank, at_least=1, at_most=size)
    factors = structures.fit(structure, posterior, params, selected, rank)
    evidence, gradient_norm = _evidence(posterior, params, factors, structure=structure, selected=selected)
    return Laplace(posterior, params, factors, evidence, gradient_norm, structure, selected)


def chosen(params: Params, layer: str | None) -> tuple[bool, ...]:
    """For each leaf whether it belongs to the layer."""
    names = leaf_paths(params)
    if layer is None:
        layer = names[-1].rpartition("/")[0] or names[-1]
    branches = {"/".join(name.split("/")[: i + 1]) for name in names for i in range(len(name.split("/")))}
    check.one_of("last_layer", layer, sorted(branches))
    return tuple(name == layer or name.startswith(layer + "/") for name in names)


@partial(jax.jit, static_argnames=("structure", "selected"))
def _evidence(
    posterior: Posterior, params: Any, factors: Any, *, structure: str, selected: tuple[bool, ...]
) -> tuple[Any, Any]:
    value, gradient = jax.value_and_grad(posterior.potential)(params)
    flat = structures.ravel(gradient, selected)
    size = flat.shape[0]
    log_det = structures.log_det(structure, factors) - size * jnp.log(posterior.temperature)
    return -value + 0.5 * (size * math.log(2 * math.pi) - log_det), jnp.sqrt(jnp.sum(flat**2))


@partial(jax.jit, static_argnames="num_draws")
def _draws(key: Any, fit: Laplace, *, num_draws: int) -> Any:
    size = sum(w.size for w, taken in zip(jax.tree.leaves(fit.params), fit.selected, strict=True) if taken)
    dtype = jnp.result_type(*jax.tree.leaves(fit.params))
    noise = jax.random.normal(key, (size, num_draws), dtype)
    moves = structures.draw(fit.structure, fit.factors, noise) * jnp.sqrt(fit.posterior.temperature)
    return jax.vmap(lambda move: structures.moved(fit.params, fit.selected, move), 1)(moves.astype(dtype))


@jax.jit
def _output_law(fit: Laplace, x: Any) -> tuple[Any, Any]:
    def one(row: Any) -> Any:
        batch = jax.tree.map(lambda leaf: leaf[None], row)
        outputs = lambda params: fit.posterior.apply(params, batch).reshape(-1)
        jacobian = jax.jacrev(outputs)(fit.params)
        rows = jax.vmap(lambda tree: structures.ravel(tree, fit.selected))(jacobian)
        half = structures.half(fit.structure, fit.factors, rows.T)
        covariance = fit.posterior.temperature * jnp.matmul(half.T, half, precision=jax.lax.Precision.HIGHEST)
        return outputs(fit.params), covariance

    return jax.lax.map(one, x, batch_size=16)


@partial(jax.jit, static_argnames="num_draws")
def _linearized_predictive(fit: Laplace, x: Any, y: Any, key: Any, *, num_draws: int) -> Predictive:
    likelihood = fit.posterior.likelihood
    mean, covariance = _output_law(fit, x)
    shape = jax.eval_shape(fit.posterior.apply, fit.params, x).shape
    variance = jnp.diagonal(covariance, axis1=1, axis2=2)
    if isinstance(likelihood, Gaussian):
        mean, variance = mean.reshape(shape), variance.reshape(shape)
        noise = likelihood.variance(mean)
        density = None if y is None else _gaussian_density(mean, covariance, noise, y)
        return Predictive(mean, variance, noise, density)
    if key is not None:
        root = jnp.linalg.cholesky(covariance + jnp.finfo(covariance.dtype).eps * jnp.eye(mean.shape[1]))
        noise = jax.random.normal(key, (num_draws, *mean.shape), mean.dtype)
        logits = mean + jnp.einsum("nab,snb->sna", root, noise, precision=jax.lax.Precision.HIGHEST)
        draws = likelihood.mean(logits.reshape(num_draws, *shape))
        probabilities, epistemic = draws.mean(0), draws.var(0)
        aleatoric = (draws * (1 - draws)).mean(0)
    else:
        draws = None
        logits = mean / jnp.sqrt(1 + math.pi / 8 * variance)
        probabilities = likelihood.mean(logits.reshape(shape))
        # Of one label the variance is p(1 − p) in all; how it splits is to first order of the logits' variance.
        slope = _slopes(likelihood, mean.reshape(shape))
        epistemic = jnp.einsum("nab,nbc,nac->na", slope, covariance, slope).reshape(shape)
        epistemic = jnp.minimum(epistemic, probabilities * (1 - probabilities))
        aleatoric = probabilities * (1 - probabilities) - epistemic
    density = None if y is None else _label_density(likelihood, probabilities, y)
    return Predictive(probabilities, epistemic, aleatoric, density, None if draws is None else draws[None])


def _slopes(likelihood: Categorical | Bernoulli, logits: Any) -> Any:
    # d E[y]/d f, [n, o, o].
    p = likelihood.mean(logits).reshape(len(logits), -1)
    if isinstance(likelihood, Categorical):
        return jax.vmap(jnp.diag)(p) - p[:, :, None] * p[:, None, :]
    return jax.vmap(jnp.diag)(p * (1 - p))


def _label_density(likelihood: Categorical | Bernoulli, probabilities: Any, y: Any) -> Any:
    if isinstance(likelihood, Categorical):
        return jnp.log(jnp.take_along_axis(probabilities, y[:, None], axis=1)[:, 0])
    terms = jnp.log(jnp.where(y > 0, probabilities, 1 - probabilities))
    return terms.sum(tuple(range(1, terms.ndim)))


def _gaussian_density(mean: Any, covariance: Any, noise: Any, y: Any) -> Any:
    n, outputs = covariance.shape[:2]
    gap = (y - mean).reshape(n, outputs)
    factor = jnp.linalg.cholesky(covariance + jax.vmap(jnp.diag)(noise.reshape(n, outputs)))
    half = jax.vmap(lambda f, g: jax.scipy.linalg.solve_triangular(f, g, lower=True))(factor, gap)
    log_det = 2 * jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)).sum(-1)
    return -0.5 * (jnp.sum(half**2, -1) + log_det + outputs * math.log(2 * math.pi))
