"""Step sizes and temperatures as functions of the step, and geometric noise levels."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from dlmath import check


def checked_schedule(argument: str, value: Any) -> Any:
    """A positive number as a float, or a function of the step as it is."""
    return value if callable(value) else check.real(argument, value, above=0.0)


def value_at(schedule: Any, i: Any) -> Any:
    """The value of a number or of a schedule at step i (counted from 0, warm-up included)."""
    return schedule(i) if callable(schedule) else schedule


@dataclass(frozen=True)
class Cyclical:
    """A cosine schedule of cycles, as made by `cyclical`; called with a step it gives the step size there."""

    step_size: float
    period: int
    exploration: float

    def __call__(self, i: Any) -> Any:
        """ε(i) = ε₀/2 · [cos(π r) + 1], r = (i mod period)/period."""
        return self.step_size / 2 * (jnp.cos(jnp.pi * self._phase(i)) + 1)

    def temperature(self, i: Any) -> Any:
        """0 while a cycle explores (gradient descent), 1 while it samples: give it to the kernel."""
        return jnp.where(self._phase(i) < self.exploration, 0.0, 1.0)

    def keep(self, i: Any) -> np.ndarray:
        """Which draws were sampled, not explored: a mask like `i`, the field "i" of the states (steps taken)."""
        return np.asarray(self._phase(np.asarray(i) - 1) >= self.exploration)

    def _phase(self, i: Any) -> Any:
        return i % self.period / self.period


def cyclical(step_size: float, *, period: int, exploration: float = 0.8) -> Cyclical:
    """A cyclical step size: large steps find a mode, small ones sample it, and again.

    ε(i) = ε₀/2 · [cos(π r) + 1] with the phase r = (i mod period)/period. In the first part of a cycle, r < exploration, the
    chain descends without noise (`temperature` is 0 there), in the rest it samples:

        schedule = cyclical(1e-3, period=1000)
        mcmc = MCMC(SGLD(..., step_size=schedule, temperature=schedule.temperature), ...)
        mcmc.run(key, *data, init_params=params, extra_fields=("i",))
        kept = schedule.keep(mcmc.get_extra_fields()["i"])           # mask of the draws to keep

    Args:
        step_size: ε₀ > 0, at the start of each cycle.
        period: steps in a cycle, at least 1.
        exploration: part of a cycle that explores, in [0, 1).

    Returns:
        `Cyclical`, a hashable function of the step, with `temperature` and `keep`. Draws of a cycle are of one mode each
        and their step sizes are not constant: there is no stationary law, only that of ε → 0.

    Raises:
        ValueError: for a step size or period that is not positive, or an exploration outside [0, 1).

    >>> schedule = cyclical(0.1, period=4, exploration=0.5)
    >>> print([round(float(schedule(i)), 4) for i in range(5)], schedule.keep([1, 2, 3, 4, 5]))
    [0.1, 0.0854, 0.05, 0.0146, 0.1] [False False  True  True False]

    References:
        Zhang, Li, Zhang, Chen, Wilson (2020), Cyclical stochastic gradient MCMC for Bayesian deep learning.
    """
    return Cyclical(
        check.real("step_size", step_size, above=0.0),
        check.positive_int("period", period),
        check.real("exploration", exploration, at_least=0.0, below=1.0),
    )


def noise_levels(largest: float, smallest: float, num_levels: int) -> np.ndarray:
    """Noise levels σ₁ > … > σ_L in geometric progression, [num_levels], for `AnnealedLangevin`.

    Args:
        largest: σ₁ > 0, about the largest distance between two points of the data.
        smallest: σ_L with 0 < σ_L < σ₁.
        num_levels: L, at least 2.

    Raises:
        ValueError: for levels that are not positive and falling.

    >>> print(noise_levels(1.0, 0.01, 3))
    [1.   0.1  0.01]

    References:
        Song, Ermon (2019), Generative modeling by estimating gradients of the data distribution.
        Song, Ermon (2020), Improved techniques for training score-based generative models.
    """
    largest = check.real("largest", largest, above=0.0)
    smallest = check.real("smallest", smallest, above=0.0, below=largest)
    return np.geomspace(largest, smallest, check.integer("num_levels", num_levels, at_least=2))
