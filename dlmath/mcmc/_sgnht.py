"""The stochastic gradient Nosé-Hoover thermostat."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.mcmc._minibatch import StochasticGradientKernel
from dlmath.mcmc._schedules import value_at
from dlmath.mcmc._sghmc import sghmc_step
from dlmath.mcmc._tree import combine, dot, normal_like, size


class SGNHTState(NamedTuple):
    """State of `SGNHT`.

    Attributes:
        i: steps taken.
        z: the draw.
        velocity: v, like z.
        thermostat: the friction ξ, a scalar.
        control_grad: ∇U at the centre of the control variate; None without.
        rng_key: key of the next step.
    """

    i: Any
    z: Any
    velocity: Any
    thermostat: Any
    control_grad: Any
    rng_key: Any


def sgnht_step(
    key: Any, x: Any, v: Any, thermostat: Any, gradient: Any, step_size: Any, diffusion: Any, temperature: Any = 1.0
) -> tuple[Any, Any, Any]:
    """The step v' = (1 − hξ) v − h ∇U(x) + √(2hAT) η, x' = x + h v', ξ' = ξ + h (‖v'‖²/d − T), with η ~ N(0, I)."""
    # SGHMC with the friction ξ has noise 2hξT − h²V̂: this V̂ makes it 2hAT.
    noise_estimate = 2 * (thermostat - diffusion) * temperature / step_size
    x, v = sghmc_step(key, x, v, gradient, step_size, thermostat, temperature, noise_estimate)
    return x, v, (thermostat + step_size * (dot(v, v) / size(v) - temperature)).astype(thermostat.dtype)


class SGNHT(StochasticGradientKernel):
    """The stochastic gradient Nosé-Hoover thermostat: SGHMC whose friction ξ holds the kinetic temperature at T.

    v' = (1 − hξ)v − h∇Û(x) + √(2hAT) η, x' = x + hv', ξ' = ξ + h(‖v'‖²/d − T). Gradient noise of an unknown variance V, the
    same in every direction, is absorbed: ξ settles near A + hV/(2T).

    Law: ‖v‖²/d has the mean T exactly, whatever h and V. Positions have no closed form in general, and p^(1/T) as h → 0.
    On N(mean, I/p) in many dimensions ξ barely fluctuates and positions have the variance T(1 − a/2)/p, where a = hξ
    solves a(4 − 2a − h²p) = 4hA + 2h²V/T.

    Args:
        model: numpyro model, with its full gradient.
        potential_fn: U = −log density, (z, *args, **kwargs) -> scalar, with its full gradient.
        score: s = −∇U, (z, *args, **kwargs) -> tree like z.
        minibatch_potential: (z, *rows) -> scalar, an unbiased estimate of U: see `SGLD`. Exactly one of these four.
        diffusion: A > 0, the friction at the start and the noise put in; with a fixed step size, hA < 2.
        batch_size, num_data, control, temperature, init_strategy: as for `SGLD`.
        step_size: h > 0, a time (SGLD's ε corresponds to h²/2), or a function of the step.

    Raises:
        ValueError: as for `SGLD`, and for a diffusion that is not positive or too large.

    >>> kernel = SGNHT(score=lambda x: -x, step_size=0.1, diffusion=2.0)
    >>> print(kernel.init(jax.random.key(0), 0, jnp.zeros(3), (), {}).thermostat)
    2.0

    Cost: a gradient on a batch a step.

    References:
        Ding, Fang, Babbush, Chen, Skeel, Neven (2014), Bayesian sampling using stochastic gradient thermostats.
    """

    def __init__(self, model: Any = None, potential_fn: Any = None, *, diffusion: float = 1.0, **options: Any) -> None:
        super().__init__(model, potential_fn, **options)
        self._diffusion = check.real("diffusion", diffusion, above=0.0)
        if not callable(self._step_size) and self._diffusion * self._step_size >= 2:
            raise ValueError(f"diffusion must be below 2/step_size = {2 / self._step_size:g}, got {self._diffusion:g}")

    def _start(
        self, key: Any, z: Any, potential: Any, gradient: Any, num_warmup: int, args: Any, kwargs: Any
    ) -> SGNHTState:
        temperature = value_at(self._temperature, 0)
        velocity = combine(lambda xi: jnp.sqrt(temperature) * xi, normal_like(key, z))
        thermostat = jnp.asarray(self._diffusion, dot(z, z).dtype)
        return SGNHTState(jnp.zeros((), jnp.int32), z, velocity, thermostat, self._control_gradient(z, args), key)

    def _step(self, state: Any, args: Any, kwargs: Any) -> SGNHTState:
        rng_key, key_batch, key = jax.random.split(state.rng_key, 3)
        _, gradient = self._estimate(key_batch, state.z, state.control_grad, args, kwargs)
        step_size, temperature = value_at(self._step_size, state.i), value_at(self._temperature, state.i)
        z, velocity, thermostat = sgnht_step(
            key, state.z, state.velocity, state.thermostat, gradient, step_size, self._diffusion, temperature
        )
        return SGNHTState(state.i + 1, z, velocity, thermostat, state.control_grad, rng_key)
