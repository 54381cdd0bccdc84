"""Stochastic gradient Hamiltonian Monte Carlo."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.mcmc._minibatch import StochasticGradientKernel
from dlmath.mcmc._schedules import value_at
from dlmath.mcmc._tree import combine, normal_like


class SGHMCState(NamedTuple):
    """State of `SGHMC`.

    Attributes:
        i: steps taken.
        z: the draw.
        velocity: v, like z.
        control_grad: ∇U at the centre of the control variate; None without.
        rng_key: key of the next step.
    """

    i: Any
    z: Any
    velocity: Any
    control_grad: Any
    rng_key: Any


def sghmc_step(
    key: Any,
    x: Any,
    v: Any,
    gradient: Any,
    step_size: Any,
    friction: Any,
    temperature: Any = 1.0,
    noise_estimate: Any = 0.0,
) -> tuple[Any, Any]:
    """The step v' = (1 − hγ) v − h ∇U(x) + √(2hγT − h²V̂) ξ and x' = x + h v'."""
    h = step_size
    noise = jnp.sqrt(jnp.maximum(2 * h * friction * temperature - h**2 * noise_estimate, 0.0))
    v = combine(lambda v, g, xi: (1 - h * friction) * v - h * g + noise * xi, v, gradient, normal_like(key, v))
    return combine(lambda x, v: x + h * v, x, v), v


class SGHMC(StochasticGradientKernel):
    """Stochastic gradient Hamiltonian Monte Carlo: v' = (1 − hγ)v − h∇Û(x) + √(2hγT − h²V̂) ξ, x' = x + hv'.

    In the η, α, β̂ of the paper's equation 15: η = h², α = hγ, β̂ = h²V̂/2, its velocity is hv.

    Its law on a Gaussian of precision p, where ∇Û has variance V whatever x, has with a = hγ and q = 2aT + h²(V − V̂)
    the variance of positions q(2 − a)/(a p(4 − 2a − h²p)) and of velocities 2q/(a(4 − 2a − h²p)), for h²p < 4 − 2a. With exact
    gradients: positions T/p · 1/(1 − h²p/(4 − 2a)), velocities T/(1 − a/2 − h²p/4). See `stationary_law`.

    Args:
        model: numpyro model, with its full gradient.
        potential_fn: U = −log density, (z, *args, **kwargs) -> scalar, with its full gradient.
        score: s = −∇U, (z, *args, **kwargs) -> tree like z.
        minibatch_potential: (z, *rows) -> scalar, an unbiased estimate of U: see `SGLD`. Exactly one of these four.
        friction: γ > 0; with a fixed step size, hγ < 2.
        noise_estimate: V̂ ≥ 0, an estimate of the variance of an entry of the gradient, whose heating it takes out.
        batch_size, num_data, control, temperature, init_strategy: as for `SGLD`.
        step_size: h > 0, a time (SGLD's ε corresponds to h²/2), or a function of the step.

    Raises:
        ValueError: as for `SGLD`, and for a friction that is not positive or too large.

    >>> from dlmath.mcmc import stationary_law
    >>> law = stationary_law("sghmc", [[1.0]], 0.5, friction=2.0)
    >>> print(law.position.round(4), law.velocity.round(4))          # 1/(1 − .25/2), 1/(1 − .5 − .0625)
    [[1.1429]] [[2.2857]]

    Cost: a gradient on a batch a step.

    References:
        Chen, Fox, Guestrin (2014), Stochastic gradient Hamiltonian Monte Carlo.
    """

    def __init__(
        self,
        model: Any = None,
        potential_fn: Any = None,
        *,
        friction: Any,
        noise_estimate: Any = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(model, potential_fn, **options)
        self._friction = check.real("friction", friction, above=0.0)
        limit = None if callable(self._step_size) else 2 / self._step_size
        if limit is not None and not check.is_traced(limit * self._friction) and self._friction >= limit:
            raise ValueError(f"friction must be below 2/step_size = {limit:g}, got {self._friction:g}")
        self._noise_estimate = check.real("noise_estimate", noise_estimate, at_least=0.0)

    def _start(
        self, key: Any, z: Any, potential: Any, gradient: Any, num_warmup: int, args: Any, kwargs: Any
    ) -> SGHMCState:
        temperature = value_at(self._temperature, 0)
        velocity = combine(lambda xi: jnp.sqrt(temperature) * xi, normal_like(key, z))
        return SGHMCState(jnp.zeros((), jnp.int32), z, velocity, self._control_gradient(z, args), key)

    def _step(self, state: Any, args: Any, kwargs: Any) -> SGHMCState:
        rng_key, key_batch, key = jax.random.split(state.rng_key, 3)
        _, gradient = self._estimate(key_batch, state.z, state.control_grad, args, kwargs)
        step_size, temperature = value_at(self._step_size, state.i), value_at(self._temperature, state.i)
        z, velocity = sghmc_step(
            key, state.z, state.velocity, gradient, step_size, self._friction, temperature, self._noise_estimate
        )
        return SGHMCState(state.i + 1, z, velocity, state.control_grad, rng_key)
