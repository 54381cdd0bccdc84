"""Annealed Langevin dynamics through the noise levels of a score model."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import check
from dlmath.mcmc._kernel import LangevinKernel
from dlmath.mcmc._schedules import value_at
from dlmath.mcmc._ula import ULAState, ula_step


class AnnealedLangevin(LangevinKernel):
    """Annealed Langevin dynamics: ULA on the score of p * N(0, σ²I), for σ = σ₁ > … > σ_L in turn.

    At step i the level is l = min(⌊i/steps_per_level⌋, L) (from 0), and x' = x + ε_l s(x, σ_l) + √(2ε_l T) ξ with
    ε_l = ε σ_l²/σ_L². Song and Ermon write α_l/2 for our ε_l: their ε is 2ε. After the last level the chain stays on it.

    Levels are warm-up: `num_warmup = L · steps_per_level`; then draws at σ_L follow one another as in ULA, so that
    independent draws are the last ones of many chains (or of a batch axis of z).

    Law: run long at a level, on Gaussian data of covariance C, that of ULA for P = (C + σ_l²I)⁻¹: T(P − ε_l P²/2)⁻¹.

    Args:
        score: (x, sigma, *args, **kwargs) -> tree like x, the score of the data blurred by noise of standard deviation σ.
        noise_levels: σ₁ > … > σ_L > 0, [L]; see `noise_levels`.
        steps_per_level: steps at each level, at least 1.
        step_size: ε > 0, that of the last level; stable while ε < 2σ_L² at every level.
        temperature: T > 0, or a function of the step.

    Raises:
        ValueError: for levels that do not fall to a positive one, or parameters that are not positive.

    >>> kernel = AnnealedLangevin(lambda x, sigma: -x / (1 + sigma**2), noise_levels=[2.0, 1.0], steps_per_level=5,
    ...                           step_size=0.1)
    >>> print(kernel.step_size(0), kernel.step_size(4), kernel.step_size(5), kernel.step_size(100))     # ε σ²/σ_L²
    0.4 0.4 0.1 0.1

    Cost: an evaluation of the score a step.

    References:
        Song, Ermon (2019), Generative modeling by estimating gradients of the data distribution, algorithm 1.
    """

    def __init__(
        self, score: Any, *, noise_levels: Any, steps_per_level: int, step_size: float, temperature: Any = 1.0
    ) -> None:
        step_size = check.real("step_size", step_size, above=0.0)
        super().__init__(score=score, step_size=step_size, temperature=temperature)
        levels = np.asarray(check.array("noise_levels", noise_levels, ndim=1), np.float64)
        if not (np.diff(levels) < 0).all() or levels[-1] <= 0:
            raise ValueError(f"noise_levels must fall to a positive one, got {levels}")
        self._levels, self._steps_per_level = levels, check.positive_int("steps_per_level", steps_per_level)

    def noise_level(self, i: Any) -> Any:
        """σ at step i."""
        level = jnp.minimum(jnp.asarray(i) // self._steps_per_level, len(self._levels) - 1)
        return jnp.asarray(self._levels, jnp.result_type(float))[level]

    def step_size(self, i: Any) -> Any:
        """ε_l = ε σ_l²/σ_L² at step i."""
        return self._step_size * (self.noise_level(i) / self._levels[-1]) ** 2

    def get_diagnostics_str(self, state: Any) -> str:
        return f"noise level {float(self.noise_level(state.i)):.2e}. step size {float(self.step_size(state.i)):.2e}"

    def _evaluate(self, key: Any, z: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        return self._at(0, z, args, kwargs)

    def _at(self, i: Any, z: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        score = self._score(z, self.noise_level(i), *args, **kwargs)
        return None, jax.tree.map(jnp.negative, score)

    def _start(
        self, key: Any, z: Any, potential: Any, gradient: Any, num_warmup: int, args: Any, kwargs: Any
    ) -> ULAState:
        return ULAState(jnp.zeros((), jnp.int32), z, potential, gradient, key)

    def _step(self, state: Any, args: Any, kwargs: Any) -> ULAState:
        rng_key, key = jax.random.split(state.rng_key)
        temperature = value_at(self._temperature, state.i)
        z = ula_step(key, state.z, state.z_grad, self.step_size(state.i), temperature)
        potential, gradient = self._at(state.i + 1, z, args, kwargs)
        return ULAState(state.i + 1, z, potential, gradient, rng_key)

    def refresh(self, state: Any, model_args: Any, model_kwargs: Any) -> Any:
        raise NotImplementedError("AnnealedLangevin has no fixed target and cannot be a block of another kernel")
