"""The posterior of a network's parameters as pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from dlmath import check
from dlmath.bnn.likelihoods import Bernoulli, Categorical, Gaussian
from dlmath.bnn.priors import Prior, leaf_paths
from dlmath.linalg._arguments import static
from dlmath.typing import ApplyFn, Key, Params

NETWORK, LOG_NOISE = "network", "log_noise"


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Posterior:
    """p(θ | data) of a network, up to its evidence; made by `posterior`. A pytree, hence an argument of `jit`.

    The tree θ that its functions take is the network's parameters; where the noise scale is learned it is
    {"network": parameters, "log_noise": log σ}, one more leaf (see `sampled`).

    Attributes:
        apply: (params, x) -> outputs.
        prior: the prior of the network's parameters.
        likelihood: the law of targets given outputs.
        data: (x, y).
        temperature: T, by which the whole potential is divided.
        likelihood_temperature: T_l, by which the log likelihood alone is divided.
    """

    apply: Partial
    prior: Prior
    likelihood: Any
    data: Any
    temperature: Any = 1.0
    likelihood_temperature: Any = 1.0

    def network(self, params: Params) -> Params:
        """The network's part of θ."""
        return params[NETWORK] if self.likelihood.learned else params

    def log_noise(self, params: Params) -> Any:
        """The noise's log σ, or None where it is not sampled."""
        return params[LOG_NOISE] if self.likelihood.learned else None

    def sampled(self, params: Params, noise_std: Any = None) -> Params:
        """θ with the network's parameters `params` and, where it is learned, the noise scale `noise_std`."""
        if not self.likelihood.learned:
            return params
        if noise_std is None:
            raise ValueError("noise_std must be given where the likelihood learns it, got None")
        return {NETWORK: params, LOG_NOISE: jnp.log(noise_std)}

    def outputs(self, params: Params, x: Any) -> Any:
        """f_θ(x)."""
        return self.apply(self.network(params), x)

    def log_prior(self, params: Params) -> Float[Array, ""]:
        """The log density p(θ), the noise's included; not tempered."""
        density = self.prior.log_density(self.network(params))
        if self.likelihood.learned:
            density = density + self.likelihood.noise_std.log_density(params[LOG_NOISE]).astype(density.dtype)
        return density

    def log_likelihoods(self, params: Params, x: Any, y: Any) -> Float[Array, " n"]:
        """The log densities p(yᵢ | xᵢ, θ) of each example, [n]; not tempered."""
        return self.likelihood.log_density(self.outputs(params, x), y, self.log_noise(params))

    def log_likelihood(self, params: Params) -> Float[Array, ""]:
        """The log density p(y | x, θ) of all data; not tempered."""
        return self.log_likelihoods(params, *self.data).sum()

    def log_joint(self, params: Params) -> Float[Array, ""]:
        """The log joint density log p(θ) + log p(y | x, θ)/T_l."""
        return self.log_prior(params) + self.log_likelihood(params) / self.likelihood_temperature

    def potential(self, params: Params) -> Float[Array, ""]:
        """U(θ) = −[log p(θ) + log p(y | x, θ)/T_l]/T; samplers draw from e^{−U}."""
        return -self.log_joint(params) / self.temperature

    def minibatch_potential(self, params: Params, batch: Any, num_data: Any = None) -> Float[Array, ""]:
        """An unbiased estimate of U: the log likelihood of B of n examples, times n/B.

        Args:
            params: θ.
            batch: (x, y) of B examples.
            num_data: n; None for the number of rows of `data`.
        """
        n = jnp.shape(self.data[1])[0] if num_data is None else num_data
        log_likelihood = self.log_likelihoods(params, *batch).mean() * n
        return -(self.log_prior(params) + log_likelihood / self.likelihood_temperature) / self.temperature

    def with_data(self, data: Any) -> "Posterior":
        """The posterior given other data; the same program where the shapes are the same."""
        return replace(self, data=_checked_data(self.likelihood, data))


def posterior(
    apply: ApplyFn | Any,
    prior: Prior | Mapping[str, Prior],
    likelihood: Any,
    data: Any,
    *,
    temperature: Any = 1.0,
    likelihood_temperature: Any = 1.0,
) -> Posterior:
    """The posterior p(θ | x, y) ∝ p(θ) p(y | f_θ(x)), tempered on demand.

    U(θ) = −[log p(θ) + log p(y | x, θ)/T_l]/T. A cold posterior has T < 1: likelihood *and* prior are raised to 1/T, as in
    Wenzel et al. (2020). T_l tempers the likelihood alone: T_l = 1/2 counts every example twice.

    Args:
        apply: (params, x) -> outputs.
        prior: of the network's parameters, from `priors`; a mapping is taken as `priors.by_path` does.
        likelihood: from `likelihoods`.
        data: (x[n, ...], y[n, ...]).
        temperature: T > 0.
        likelihood_temperature: T_l > 0.

    Returns:
        A `Posterior`, a pytree: data, scales and temperatures are arguments of compiled programs, so that one serves all of
        them.

    Raises:
        TypeError: for a prior or a likelihood of another type, or labels that are not integers.
        ValueError: for data that are not finite or of unequal lengths, labels out of range, or T ≤ 0.

    >>> from dlmath.bnn import likelihoods, priors
    >>> data = jnp.ones((1, 1)), jnp.ones((1, 1))
    >>> p = posterior(lambda w, x: x @ w, priors.normal(1.0), likelihoods.gaussian(1.0), data, temperature=0.5)
    >>> print(round(float(p.potential(jnp.ones((1, 1)))), 4))              # 2 (½ + log 2π)
    4.6758

    References: Wenzel et al. (2020), How good is the Bayes posterior in deep neural networks really?, eqs. 1 and 2.
    """
    apply = static("apply", apply)
    if isinstance(prior, Mapping):
        from dlmath.bnn.priors import by_path

        prior = by_path(prior)
    if not isinstance(prior, Prior):
        raise TypeError(
            f"prior must be a proper prior from bnn.priors, such as priors.normal(1.0), got {prior!r} of type"
            f" {type(prior).__name__}"
        )
    if not isinstance(likelihood, Gaussian | Categorical | Bernoulli):
        raise TypeError(
            f"likelihood must be from bnn.likelihoods, such as likelihoods.gaussian(0.1), got {type(likelihood).__name__}"
        )
    temperature = check.real("temperature", temperature, above=0.0)
    likelihood_temperature = check.real("likelihood_temperature", likelihood_temperature, above=0.0)
    return Posterior(apply, prior, likelihood, _checked_data(likelihood, data), temperature, likelihood_temperature)


def sample_prior(key: Key, posterior: Posterior, params_like: Params, num_draws: int) -> Params:
    """Draws of θ from the prior, noise included, with a leading axis: starting points of chains, members, particles.

    Args:
        key: typed key.
        posterior: whose prior.
        params_like: parameters of the *network*, for their structure, shapes and types.
        num_draws: how many.

    >>> from dlmath.bnn import likelihoods, priors
    >>> data = jnp.ones((1, 1)), jnp.ones((1, 1))
    >>> p = posterior(lambda w, x: x @ w, priors.normal(1.0), likelihoods.gaussian(likelihoods.half_cauchy(1.0)), data)
    >>> jax.tree.map(jnp.shape, sample_prior(jax.random.key(0), p, jnp.ones((1, 1)), 4))
    {'log_noise': (4,), 'network': (4, 1, 1)}
    """
    check.key("key", key)
    num_draws = check.positive_int("num_draws", num_draws)
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), params_like)
    dtype = jnp.result_type(*jax.tree.leaves(like))

    def draw(key: Any) -> Any:
        network, noise = jax.random.split(key)
        params = posterior.prior.sample(network, like)
        if not posterior.likelihood.learned:
            return params
        return {NETWORK: params, LOG_NOISE: posterior.likelihood.noise_std.sample(noise, dtype)}

    return jax.vmap(draw)(jax.random.split(key, num_draws))


def checked_start(posterior: Any, params: Params, *, axis: str | None = None) -> Params:
    """θ as arrays, where every inference begins.

    Args:
        posterior: a Posterior.
        params: θ, with a leading axis if `axis` is given.
        axis: what the leading axis counts ("chains"), or None.

    Raises:
        TypeError: for another posterior, or leaves that are not floating.
        ValueError: for a tree that `apply` does not take, leading axes of unequal lengths, labels beyond the outputs, or a
            potential that is not finite, which names the parameter.
    """
    if not isinstance(posterior, Posterior):
        raise TypeError(f"posterior must be made by bnn.posterior, got {type(posterior).__name__}")
    names, leaves = leaf_paths(params), jax.tree.leaves(params)
    if not leaves:
        raise ValueError("params must hold at least one array, got none")
    if posterior.likelihood.learned and not (isinstance(params, dict) and set(params) == {NETWORK, LOG_NOISE}):
        raise ValueError(
            f"params must be {{'{NETWORK}': ..., '{LOG_NOISE}': ...}} where the noise is learned, got a"
            f" {type(params).__name__} with leaves {', '.join(map(repr, names))}; make it with posterior.sampled(params, noise_std)"
        )
    for name, leaf in zip(names, leaves, strict=True):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise TypeError(f"params must have floating leaves, got {jnp.result_type(leaf)} at {name!r}")
    params = jax.tree.map(jnp.asarray, params)
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    if axis is not None:
        lengths = {name: leaf.shape[:1] for name, leaf in zip(names, jax.tree.leaves(params), strict=True)}
        if len(set(lengths.values())) != 1 or () in lengths.values():
            raise ValueError(
                f"params must have a leading axis of {axis}, the same for every leaf, got lengths"
                f" { {name: length[0] if length else None for name, length in lengths.items()} }"
            )
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), one)
    x, y = posterior.data
    try:
        outputs = jax.eval_shape(posterior.outputs, one, x)
    except Exception as error:
        shapes = dict(zip(names, (leaf.shape for leaf in jax.tree.leaves(one)), strict=True))
        hint = f"; {axis} must be a leading axis of every leaf" if axis else ""
        raise ValueError(f"params must be a tree that apply takes, got {shapes}: {error}{hint}") from error
    posterior.likelihood.check_outputs(outputs, y)
    posterior.prior.factors_of(posterior.network(one))
    _refuse_infinite(posterior, params if axis is not None else jax.tree.map(lambda leaf: leaf[None], params))
    return params


@jax.jit
def _finiteness(posterior: Posterior, params: Params) -> Any:
    def of(params: Params) -> Any:
        value, gradient = jax.value_and_grad(posterior.potential)(params)
        finite = lambda tree: jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)])
        return value, posterior.log_prior(params), posterior.log_likelihood(params), finite(params), finite(gradient)

    return jax.vmap(of)(params)


def _refuse_infinite(posterior: Posterior, params: Params) -> None:
    if any(check.is_traced(leaf) for leaf in jax.tree.leaves((posterior, params))):
        return
    value, log_prior, log_likelihood, entries, gradients = map(np.asarray, _finiteness(posterior, params))
    bad = ~np.isfinite(value) | ~gradients.all(-1)
    if not bad.any():
        return
    start = int(np.argmax(bad))
    names = np.array(leaf_paths(params))
    culprits = names[~entries[start]] if not entries[start].all() else names[~gradients[start]]
    what = "has entries that are not finite" if not entries[start].all() else "has a gradient that is not finite"
    named = ", ".join(f"params[{str(name)!r}]" for name in culprits) or "params"
    raise ValueError(
        f"{named} {what if len(culprits) else 'gives no finite potential'} at start {start}: the potential is"
        f" {value[start]:g}, the log prior {log_prior[start]:g}, the log likelihood {log_likelihood[start]:g};"
        " start from smaller parameters (sample_prior, model.init), or scale the inputs"
    )


def _checked_data(likelihood: Any, data: Any) -> Any:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"data must be a pair (x, y), got {type(data).__name__}")
    x = check.array("x", data[0]) if not isinstance(data[0], dict | tuple | list) else data[0]
    y = likelihood.check_targets(data[1])
    if hasattr(x, "shape"):
        check.same_length("x", x, "y", y)
    return jax.tree.map(jnp.asarray, x), y
