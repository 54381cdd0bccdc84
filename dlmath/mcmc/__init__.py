"""Markov chain Monte Carlo: targets with known answers, diagnostics, importance sampling."""

from dlmath.mcmc import diagnostics, targets
from dlmath.mcmc._gamblers_ruin import gamblers_ruin, gamblers_ruin_probability
from dlmath.mcmc._importance import Importance, importance
from dlmath.mcmc._pareto import Smoothed, pareto_smooth

RESULTS_VERSION = 1
"""Raised when the numbers this subpackage returns change: stored results are then computed again."""

__all__ = [
    "Importance",
    "RESULTS_VERSION",
    "Smoothed",
    "diagnostics",
    "gamblers_ruin",
    "gamblers_ruin_probability",
    "importance",
    "pareto_smooth",
    "targets",
]
