"""Stochastic gradient Langevin dynamics with RMSprop's preconditioner."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.mcmc._minibatch import StochasticGradientKernel
from dlmath.mcmc._schedules import value_at
from dlmath.mcmc._tree import combine, normal_like


class PreconditionedSGLDState(NamedTuple):
    """State of `PreconditionedSGLD`.

    Attributes:
        i: steps taken.
        z: the draw.
        square: moving average of the squared gradient.
        control_grad: ∇U at the centre of the control variate; None without.
        rng_key: key of the next step.
    """

    i: Any
    z: Any
    square: Any
    control_grad: Any
    rng_key: Any


def preconditioned_step(
    key: Any, x: Any, gradient: Any, preconditioner: Any, correction: Any, step_size: Any, temperature: Any = 1.0
) -> Any:
    """The step x − ε (G ∇U − T Γ) + √(2εTG) ξ, with G diagonal and Γᵢ = ∂Gᵢ/∂xᵢ."""
    noise = 2 * step_size * temperature
    return combine(
        lambda x, g, G, Gamma, xi: x - step_size * (G * g - temperature * Gamma) + jnp.sqrt(noise * G) * xi,
        x,
        gradient,
        preconditioner,
        correction,
        normal_like(key, x),
    )


class PreconditionedSGLD(StochasticGradientKernel):
    """SGLD in RMSprop's metric: x' = x − ε [G ∇Û − T Γ] + √(2εTG) ξ, with v ← αv + (1−α)(∇Û)², G = 1/(λ + √v).

    Γᵢ = ∂Gᵢ/∂xᵢ = −(1−α) Gᵢ² gᵢ Hᵢᵢ/√vᵢ keeps the law where G depends on x. Without it (the default, as in the paper's
    experiments) the bias is of order 1 − α: for α = 0 in one dimension the law is ∝ (λ + |U'|) exp(−U), as ε → 0. With it
    Hᵢᵢ is estimated, without bias, by a Hessian-vector product with random signs.

    Law as ε → 0: p^(1/T) for α → 1, or α = 0 with Γ; in between v remembers, and there is no closed form. With G frozen the
    law on a Gaussian of precision P is T(P − εPGP/2)⁻¹.

    The paper averages gradients over the data where we sum: with n points our ε is its ε/n and our λ its nλ.

    Args:
        model: numpyro model, with its full gradient.
        potential_fn: U = −log density, (z, *args, **kwargs) -> scalar, with its full gradient.
        score: s = −∇U, (z, *args, **kwargs) -> tree like z.
        minibatch_potential: (z, *rows) -> scalar, an unbiased estimate of U: see `SGLD`. Exactly one of these four.
        decay: α in [0, 1).
        damping: λ > 0, in the units of a gradient.
        gamma: whether Γ is added.
        batch_size, num_data, control, step_size, temperature, init_strategy: as for `SGLD`.

    Raises:
        ValueError: as for `SGLD`.

    >>> kernel = PreconditionedSGLD(score=lambda x: -x, step_size=0.01)
    >>> state = kernel.init(jax.random.key(0), 0, jnp.array([3.0]), (), {})
    >>> print(state.i, state.square)                                  # v starts at the squared gradient
    0 [9.]

    Cost: a gradient on a batch a step; with Γ about three.

    References:
        Li, Chen, Carlson, Carin (2016), Preconditioned stochastic gradient Langevin dynamics for deep neural networks.
    """

    def __init__(
        self,
        model: Any = None,
        potential_fn: Any = None,
        *,
        decay: Any = 0.99,
        damping: Any = 1e-5,
        gamma: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(model, potential_fn, **options)
        self._decay = check.real("decay", decay, at_least=0.0, below=1.0)
        self._damping = check.real("damping", damping, above=0.0)
        self._gamma = gamma

    def _start(
        self, key: Any, z: Any, potential: Any, gradient: Any, num_warmup: int, args: Any, kwargs: Any
    ) -> PreconditionedSGLDState:
        square = jax.tree.map(jnp.square, gradient)
        return PreconditionedSGLDState(jnp.zeros((), jnp.int32), z, square, self._control_gradient(z, args), key)

    def _step(self, state: Any, args: Any, kwargs: Any) -> PreconditionedSGLDState:
        rng_key, key_batch, key_signs, key = jax.random.split(state.rng_key, 4)
        slope = lambda z: self._estimate(key_batch, z, state.control_grad, args, kwargs)[1]
        if self._gamma:
            signs = combine(lambda xi: jnp.where(xi < 0, -1, 1), normal_like(key_signs, state.z))
            gradient, product = jax.jvp(slope, (state.z,), (signs,))
            curvature = combine(jnp.multiply, signs, product)
        else:
            gradient = slope(state.z)
            curvature = jax.tree.map(jnp.zeros_like, gradient)
        square = combine(lambda v, g: self._decay * v + (1 - self._decay) * g**2, state.square, gradient)
        G = combine(lambda v: 1 / (self._damping + jnp.sqrt(v)), square)
        # g/√v stays bounded, by 1/√(1−α); at g = 0 the derivative of √v is taken as 0.
        ratio = combine(lambda g, v: g / jnp.sqrt(jnp.where(v > 0, v, 1.0)), gradient, square)
        Gamma = combine(lambda G, r, h: -(1 - self._decay) * G**2 * r * h, G, ratio, curvature)
        step_size, temperature = value_at(self._step_size, state.i), value_at(self._temperature, state.i)
        z = preconditioned_step(key, state.z, gradient, G, Gamma, step_size, temperature)
        return PreconditionedSGLDState(state.i + 1, z, square, state.control_grad, rng_key)
