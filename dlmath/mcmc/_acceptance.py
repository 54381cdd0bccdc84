"""Whether chains moved."""

from typing import Any

import numpy as np


def acceptance(state: Any) -> np.ndarray:
    """The mean acceptance probability of each chain since warm-up, from `mcmc.last_state`.

    Args:
        state: a state of `MALA`, or of any kernel of numpyro with `mean_accept_prob`.

    Returns:
        An array, one entry a chain (of shape () for one).

    Raises:
        ValueError: where a chain accepted less than 1 in 10 000: it did not move, and its draws say nothing.

    >>> from types import SimpleNamespace
    >>> acceptance(SimpleNamespace(mean_accept_prob=[0.6, 0.7], step_size=1.0))
    array([0.6, 0.7])
    """
    accepted = np.asarray(state.mean_accept_prob)
    sizes = np.asarray(state.step_size if hasattr(state, "step_size") else state.adapt_state.step_size)
    if (accepted < 1e-4).any():
        stuck = np.atleast_1d(accepted < 1e-4)
        raise ValueError(
            f"state must be of chains that move, got acceptance {accepted.min():.2g} at"
            f" step_size={np.broadcast_to(sizes, stuck.shape)[stuck][0]:.3g} in {stuck.sum()} of {stuck.size} chains;"
            " reduce step_size, or adapt it in a longer warm-up"
        )
    return accepted
