"""The unadjusted Langevin algorithm."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpyro.infer import init_to_uniform

from dlmath.mcmc._kernel import LangevinKernel
from dlmath.mcmc._schedules import value_at
from dlmath.mcmc._tree import combine, normal_like


class ULAState(NamedTuple):
    """State of `ULA`.

    Attributes:
        i: steps taken.
        z: the draw.
        potential_energy: U(z); None from a score alone.
        z_grad: ∇U(z).
        rng_key: key of the next step.
    """

    i: Any
    z: Any
    potential_energy: Any
    z_grad: Any
    rng_key: Any


def ula_step(key: Any, x: Any, gradient: Any, step_size: Any, temperature: Any = 1.0) -> Any:
    """The step x − ε ∇U(x) + √(2εT) ξ with ξ ~ N(0, I); `gradient` is ∇U(x) or an estimate of it."""
    noise = jnp.sqrt(2 * step_size * temperature)
    return combine(lambda x, g, xi: x - step_size * g + noise * xi, x, gradient, normal_like(key, x))


class ULA(LangevinKernel):
    """The unadjusted Langevin algorithm x' = x + ε s(x) + √(2εT) ξ, s = ∇ log density.

    Welling and Teh write ε/2 for our ε (their noise has variance ε, ours 2ε).

    Its law on a Gaussian of precision P is N(mean, T(P − εP²/2)⁻¹), for ε < 2/λ_max: variance 1/(1 − ε/2) on N(0, 1). The
    bias is of first order in ε: see `stationary_law`. Draws are from p^(1/T).

    Args:
        model: numpyro model; its sites come back constrained.
        potential_fn: U = −log density, (z, *args, **kwargs) -> scalar, up to a constant.
        score: s = −∇U, (z, *args, **kwargs) -> tree like z. Exactly one of these three; args are those of `MCMC.run`.
        step_size: ε > 0, or a function of the step (counted from 0, warm-up included).
        temperature: T > 0, or a function of the step.
        init_strategy: where the sites of a model start, as in numpyro.

    Raises:
        ValueError: for none or several targets, or a step size or temperature that is not positive; at the start, for
            init_params without a finite potential and gradient (not seen under `chain_method=jax.vmap`).

    >>> from numpyro.infer import MCMC
    >>> mcmc = MCMC(ULA(score=lambda x: -x, step_size=0.5), num_warmup=10, num_samples=100, progress_bar=False)
    >>> mcmc.run(jax.random.key(0), init_params=jnp.zeros(1000))           # 1000 independent N(0, 1)
    >>> print(f"{mcmc.get_samples().var():.2f}")                           # law: 1/(1 − ε/2) = 1.33
    1.33

    Cost: a gradient a step. Works with every chain method of numpyro.

    References:
        Roberts, Tweedie (1996), Exponential convergence of Langevin distributions and their discrete approximations.
        Welling, Teh (2011), Bayesian learning via stochastic gradient Langevin dynamics.
    """

    def __init__(
        self,
        model: Any = None,
        potential_fn: Any = None,
        *,
        score: Any = None,
        step_size: Any,
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

    def _start(
        self, key: Any, z: Any, potential: Any, gradient: Any, num_warmup: int, args: Any, kwargs: Any
    ) -> ULAState:
        return ULAState(jnp.zeros((), jnp.int32), z, potential, gradient, key)

    def _step(self, state: Any, args: Any, kwargs: Any) -> ULAState:
        rng_key, key = jax.random.split(state.rng_key)
        step_size, temperature = value_at(self._step_size, state.i), value_at(self._temperature, state.i)
        z = ula_step(key, state.z, state.z_grad, step_size, temperature)
        potential, gradient = self._evaluate(key, z, args, kwargs)
        return ULAState(state.i + 1, z, potential, gradient, rng_key)
