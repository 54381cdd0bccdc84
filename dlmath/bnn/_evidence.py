"""Scales of the prior (and of the noise) by maximising the evidence."""

import math
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, Int

from dlmath import check
from dlmath.bnn import _laplace_structures as structures
from dlmath.bnn._posterior import Posterior, checked_start
from dlmath.bnn.likelihoods import Gaussian
from dlmath.linalg._arrays import product
from dlmath.typing import Params


class Evidence(NamedTuple):
    """The maximum of the evidence over scales.

    Attributes:
        posterior: with the scales found.
        params: the mode of the local quadratic model at these scales; the exact one for linear networks with Gaussian noise.
        prior_scales: s of each law of the prior, in its order, [law].
        prior_precisions: 1/s², [law].
        noise_std: σ, found or given; None without Gaussian noise.
        log_evidence: at the maximum.
        gradient_norm: ‖∂ log evidence/∂ log precisions‖, 0 at a maximum.
        num_steps: Newton steps.
    """

    posterior: Posterior
    params: Params
    prior_scales: Float[Array, " law"]
    prior_precisions: Float[Array, " law"]
    noise_std: Any
    log_evidence: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    num_steps: Int[Array, ""]


def maximize_evidence(
    posterior: Posterior, params: Params, *, noise: bool = False, num_steps: int = 50, tol: float | None = None
) -> Evidence:
    """The scales of a normal prior that maximise the evidence of the local quadratic model at θ₀ (empirical Bayes).

    With g and G gradient and Gauss-Newton matrix of −log p(y | x, θ) at θ₀, P(s) the prior's precision and
    Λ = G + P(s), h = g + P(s)θ₀,

        log Z(s) = log p(y | x, θ₀) + log p(θ₀ | s) + ½ hᵀΛ⁻¹h + (P/2) log 2π − ½ log det Λ,

    maximised over log 1/s² by Newton steps of absolute curvature. The term ½ hᵀΛ⁻¹h lets the mode move with s: for a linear
    network and Gaussian noise log Z is the log evidence, for every θ₀. For others start from a `mode` and repeat with `params`.

    Where the d parameters of a law are known well, 1/s² ≈ d/‖θ‖²: over data sets 1/s² then has the relative bias 2/(d − 2) and
    spread √(2/d), and s² no bias.

    Args:
        posterior: with a normal prior, known noise, T = T_l = 1.
        params: θ₀.
        noise: whether to maximise over the scale of Gaussian noise, too.
        num_steps: at most so many Newton steps.
        tol: ends when the gradient in log precisions is below; by default 1e-3 in float32 and 1e-8 in float64.

    Raises:
        ValueError: for a prior that is not normal, a tempered posterior, or noise that is not Gaussian or is learned by
            sampling; outside jit, for noise so small that the precision G + P is not positive definite in the float type
            (float32 holds G to 6e-8 of its largest eigenvalue); and as `mode` says.

    Cost: P products for G, then P³ arithmetic a step; memory P² for every law.

    References: MacKay (1992), Bayesian interpolation; Immer et al. (2021), Scalable marginal likelihood estimation.
    """
    params = checked_start(posterior, params)
    posterior.prior.precisions(params)
    if posterior.likelihood.learned or (noise and not isinstance(posterior.likelihood, Gaussian)):
        raise ValueError(
            f"posterior must have known noise, Gaussian where noise=True, got {posterior.likelihood}; give"
            " likelihoods.gaussian(0.1), a start"
        )
    for name in ("temperature", "likelihood_temperature"):
        value = getattr(posterior, name)
        if not check.is_traced(value) and value != 1:
            raise ValueError(f"{name} must be 1, since the evidence of a tempered posterior is not one, got {value:g}")
    dtype = jnp.result_type(*jax.tree.leaves(params))
    default = 1e-8 if jnp.finfo(dtype).eps < 1e-10 else 1e-3
    tol = default if tol is None else check.real("tol", tol, above=0.0)
    found = _maximize(posterior, params, tol, noise=noise, num_steps=check.positive_int("num_steps", num_steps))
    if not check.is_traced(found.log_evidence) and not bool(jnp.isfinite(found.log_evidence)):
        raise ValueError(
            f"posterior must have a precision G + P that is positive definite in {jnp.dtype(dtype).name}, got one that is not:"
            " noise is so small that roundings of G exceed the prior's precisions; give params and data in float64, under"
            " jax.enable_x64(True), or larger noise"
        )
    return found


@partial(jax.jit, static_argnames=("noise", "num_steps"))
def _maximize(posterior: Posterior, params: Any, tol: Any, *, noise: bool, num_steps: int) -> Evidence:
    model = _model(posterior, params, noise)

    def unfinished(carry: Any) -> Any:
        _, step, size = carry
        return (step < num_steps) & (size > tol)

    def newton(carry: Any) -> Any:
        logs, step, _ = carry
        _, rise, curvature, _ = _derivatives(model, logs)
        values, vectors = jnp.linalg.eigh(curvature)
        floor = 1e-6 * jnp.abs(values).max() + jnp.finfo(values.dtype).tiny
        move = product(vectors, product(vectors.T, rise) / jnp.maximum(jnp.abs(values), floor))
        # At most a factor e² a step: far from the maximum the quadratic is no guide.
        logs = logs + move / jnp.maximum(jnp.sqrt(jnp.sum(move**2)) / 2, 1.0)
        return logs, step + 1, jnp.sqrt(jnp.sum(rise**2))

    start = jnp.zeros(len(model.owners) + noise, model.center.dtype)
    first = (start, jnp.zeros((), jnp.int32), jnp.full((), jnp.inf, start.dtype))
    logs, steps, _ = jax.lax.while_loop(unfinished, newton, first)
    log_z, rise, _, mean = _derivatives(model, logs)
    laws = posterior.prior.factors
    scales = jnp.stack([jnp.asarray(f.scale, start.dtype) for f in laws]) * jnp.exp(-logs[: len(laws)] / 2)
    prior = replace(posterior.prior, factors=tuple(replace(f, scale=s) for f, s in zip(laws, scales, strict=True)))
    likelihood, sigma = posterior.likelihood, None
    if isinstance(likelihood, Gaussian):
        sigma = jnp.asarray(likelihood.noise_std, start.dtype) * (jnp.exp(-logs[-1] / 2) if noise else 1)
        likelihood = replace(likelihood, noise_std=sigma if noise else likelihood.noise_std)
    everything = (True,) * len(jax.tree.leaves(params))
    return Evidence(
        replace(posterior, prior=prior, likelihood=likelihood),
        structures.moved(params, everything, mean - model.center),
        scales,
        1 / scales**2,
        sigma,
        log_z,
        jnp.sqrt(jnp.sum(rise**2)),
        steps,
    )


class _Model(NamedTuple):
    """The quadratic model of −log p(y | x, θ) at θ₀, c + gᵀδ + ½ δᵀGδ, and the diagonals of the laws' precisions."""

    matrix: Any  # G [d, d]
    slope: Any  # g [d]
    center: Any  # θ₀ [d]
    value: Any  # c without what does not scale with 1/σ²
    constant: Any  # that
    owners: Any  # P_k at the given scales, [law, d], 0 where a law has no say
    count: Any  # N, how many Gaussian targets


def _model(posterior: Posterior, params: Any, noise: bool) -> _Model:
    everything = (True,) * len(jax.tree.leaves(params))
    matrix, precisions = structures.dense_parts(posterior, params, everything)
    center = structures.ravel(params, everything)
    value, gradient = jax.value_and_grad(posterior.log_likelihood)(params)
    constant, count = jnp.zeros_like(value), posterior.data[1].size
    if noise:
        # −log p = SSE/(2σ²) + N (log σ + ½ log 2π)
        constant = count * (jnp.log(posterior.likelihood.noise_std) + 0.5 * math.log(2 * math.pi)).astype(value.dtype)
    laws = jnp.arange(len(posterior.prior.factors))
    owners = jnp.where(_owners(posterior, params) == laws[:, None], precisions, 0)
    return _Model(matrix, -structures.ravel(gradient, everything), center, -value - constant, constant, owners, count)


def _derivatives(model: _Model, logs: Any) -> tuple[Any, Any, Any, Any]:
    """Log Z, its gradient and Hessian in u (log factors on the precisions; on 1/σ² the last), and the mode μ.

    With E_a the part of −log p(y, θ) that e^{u_a} multiplies, M_a its Hessian and A = Λ⁻¹, at the mode

        ∂ log Z/∂u_a = ½ d_a − E_a − ½ tr AM_a,
        ∂² log Z/∂u_a∂u_b = ∇E_aᵀ A ∇E_b + ½ tr(AM_aAM_b) − δ_ab (E_a + ½ tr AM_a).
    """
    laws, size = model.owners.shape
    noise = len(logs) > laws
    owners = jnp.exp(logs[:laws])[:, None] * model.owners
    ratio = jnp.exp(logs[-1]) if noise else 1.0
    matrix = ratio * model.matrix
    factor = jnp.linalg.cholesky(matrix + jnp.diag(owners.sum(0)))
    half = solve_triangular(factor, jnp.eye(size, dtype=matrix.dtype), lower=True)
    inverse = product(half.T, half)
    move = -product(inverse, ratio * model.slope + owners.sum(0) * model.center)
    mean = model.center + move
    curved = product(matrix, move)
    fitted = ratio * (model.value + jnp.sum(model.slope * move)) + 0.5 * jnp.sum(move * curved)
    energies, slopes = 0.5 * jnp.sum(owners * mean**2, 1), owners * mean
    counts = jnp.sum(model.owners > 0, 1).astype(mean.dtype)
    products = inverse * owners[:, None, :]
    if noise:
        energies, counts = jnp.append(energies, fitted), jnp.append(counts, jnp.asarray(model.count, mean.dtype))
        slopes = jnp.vstack([slopes, ratio * model.slope + curved])
        products = jnp.concatenate([products, (jnp.eye(size, dtype=mean.dtype) - products.sum(0))[None]])
    traces = jnp.trace(products, axis1=1, axis2=2)
    rise = 0.5 * (counts - traces) - energies
    pairs = jnp.sum(products[:, None] * jnp.swapaxes(products, 1, 2), (2, 3))
    curvature = product(product(slopes, inverse), slopes.T) + 0.5 * pairs - jnp.diag(energies + 0.5 * traces)
    log_det = 2 * jnp.log(jnp.diagonal(factor)).sum() - jnp.log(owners.sum(0)).sum()
    counted = 0.5 * model.count * logs[-1] if noise else 0.0
    log_z = -fitted - model.constant + counted - 0.5 * jnp.sum(owners * mean**2) - 0.5 * log_det
    return log_z, rise, curvature, mean


def _owners(posterior: Posterior, params: Any) -> Any:
    # Which law each entry has, [d].
    laws = posterior.prior.factors
    found = posterior.prior.factors_of(params)
    numbers = [next(k for k, law in enumerate(laws) if law is factor) for factor in found]
    sizes = [leaf.size for leaf in jax.tree.leaves(params)]
    return jnp.concatenate([jnp.full(size, number) for size, number in zip(sizes, numbers, strict=True)])
