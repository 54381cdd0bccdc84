"""Underdamped Langevin dynamics by the BAOAB splitting."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpyro.infer import init_to_uniform

from dlmath import check
from dlmath.mcmc._kernel import LangevinKernel
from dlmath.mcmc._schedules import value_at
from dlmath.mcmc._tree import combine, normal_like


class UnderdampedState(NamedTuple):
    """State of `UnderdampedLangevin`.

    Attributes:
        i: steps taken.
        z: the draw.
        velocity: v, like z.
        potential_energy: U(z); None from a score alone.
        z_grad: ∇U(z).
        rng_key: key of the next step.
    """

    i: Any
    z: Any
    velocity: Any
    potential_energy: Any
    z_grad: Any
    rng_key: Any


def baoab_step(
    key: Any,
    x: Any,
    v: Any,
    gradient: Any,
    evaluate: Callable[[Any], tuple[Any, Any]],
    step_size: Any,
    friction: Any,
    mass: Any,
    temperature: Any = 1.0,
) -> tuple[Any, Any, Any, Any]:
    """One step of BAOAB; `evaluate` gives (U, ∇U), of which one evaluation is made.

    B: v ← v − (h/2) ∇U(x)/m.  A: x ← x + (h/2) v.  O: v ← c v + √((1 − c²)T/m) ξ, c = exp(−γh).

    Returns:
        x, v, U(x), ∇U(x) after B, A, O, A, B.
    """
    h = step_size
    c = jnp.exp(-friction * h)
    kick = lambda v, gradient: combine(lambda v, g, m: v - h / 2 * g / m, v, gradient, mass)
    drift = lambda x, v: combine(lambda x, v: x + h / 2 * v, x, v)
    v = kick(v, gradient)
    x = drift(x, v)
    v = combine(lambda v, xi, m: c * v + jnp.sqrt((1 - c**2) * temperature / m) * xi, v, normal_like(key, v), mass)
    x = drift(x, v)
    potential, gradient = evaluate(x)
    return x, kick(v, gradient), potential, gradient


class UnderdampedLangevin(LangevinKernel):
    """Underdamped Langevin dynamics dx = v dt, m dv = −∇U dt − γm v dt + √(2γmT) dW, split as BAOAB.

    Its law on a Gaussian of precision λ: positions exact, variance T/λ; velocities T/m · (1 − h²λ/(4m)); for h²λ < 4m and every
    friction. In general the bias of positions is of second order in h. See `stationary_law`.

    Args:
        model: numpyro model; its sites come back constrained.
        potential_fn: U = −log density, (z, *args, **kwargs) -> scalar, up to a constant.
        score: s = −∇U, (z, *args, **kwargs) -> tree like z. Exactly one of these three; args are those of `MCMC.run`.
        step_size: h > 0, a time (ULA's ε corresponds to h²/2), or a function of the step.
        friction: γ > 0, a rate; about the slowest frequency √(λ_min/m) mixes fastest.
        mass: m > 0, a number or a tree like z of positive arrays.
        temperature: T > 0, or a function of the step.
        init_strategy: where the sites of a model start, as in numpyro.

    Raises:
        ValueError: for none or several targets, parameters that are not positive, or a start without a finite potential
            and gradient.

    >>> from dlmath.mcmc import stationary_law
    >>> law = stationary_law("underdamped", [[4.0]], 0.5)
    >>> print(law.position, law.velocity)                            # 1/λ, 1 − h²λ/4
    [[0.25]] [[0.75]]

    Cost: a gradient a step.

    References:
        Leimkuhler, Matthews (2013), Rational construction of stochastic numerical methods for molecular sampling.
    """

    def __init__(
        self,
        model: Any = None,
        potential_fn: Any = None,
        *,
        score: Any = None,
        step_size: Any,
        friction: float = 1.0,
        mass: Any = 1.0,
        temperature: Any = 1.0,
        init_strategy: Callable[..., Any] = init_to_uniform,
    ) -> None:
        super().__init__(
            model=model,
            potential_fn=potential_fn,
            score=score,
            step_size=step_size,
            temperature=temperature,
            init_strategy=init_strategy,
        )
        self._friction = check.real("friction", friction, above=0.0)
        for leaf in jax.tree.leaves(mass):
            if not (jnp.asarray(leaf) > 0).all():
                raise ValueError(f"mass must be positive, got {jnp.asarray(leaf).min()}")
        self._mass = mass

    def _masses(self, z: Any) -> Any:
        """A mass for each leaf of z."""
        if jax.tree.structure(self._mass) == jax.tree.structure(z):
            return self._mass
        if jax.tree.structure(self._mass) == jax.tree.structure(1.0):
            return jax.tree.map(lambda _: self._mass, z)
        raise ValueError(
            f"mass must be a number or a tree like init_params, {jax.tree.structure(z)},"
            f" got {jax.tree.structure(self._mass)}"
        )

    def _start(
        self, key: Any, z: Any, potential: Any, gradient: Any, num_warmup: int, args: Any, kwargs: Any
    ) -> UnderdampedState:
        temperature = value_at(self._temperature, 0)
        velocity = combine(lambda xi, m: jnp.sqrt(temperature / m) * xi, normal_like(key, z), self._masses(z))
        return UnderdampedState(jnp.zeros((), jnp.int32), z, velocity, potential, gradient, key)

    def _step(self, state: Any, args: Any, kwargs: Any) -> UnderdampedState:
        rng_key, key = jax.random.split(state.rng_key)
        step_size, temperature = value_at(self._step_size, state.i), value_at(self._temperature, state.i)
        evaluate = lambda z: self._evaluate(key, z, args, kwargs)
        moved = baoab_step(
            key, state.z, state.velocity, state.z_grad, evaluate,
            step_size, self._friction, self._masses(state.z), temperature,
        )  # fmt: skip
        return UnderdampedState(state.i + 1, *moved, rng_key)
