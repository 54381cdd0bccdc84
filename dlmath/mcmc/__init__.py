"""Markov chain Monte Carlo: Langevin-family kernels for `numpyro.infer.MCMC`, targets, diagnostics, importance sampling.

A target is given as a numpyro model, as a potential U = −log density, or as its score s = −∇U alone. The law of every
unadjusted kernel on a Gaussian is known in closed form.
"""

from dlmath.mcmc import diagnostics, targets
from dlmath.mcmc._acceptance import acceptance
from dlmath.mcmc._annealed import AnnealedLangevin
from dlmath.mcmc._blackjax import BlackjaxState, FromBlackjax
from dlmath.mcmc._curl import check_curl, curl, curl_estimate
from dlmath.mcmc._gamblers_ruin import gamblers_ruin, gamblers_ruin_probability
from dlmath.mcmc._importance import Importance, importance
from dlmath.mcmc._kernel import LangevinKernel
from dlmath.mcmc._laws import StationaryLaw, stationary_law
from dlmath.mcmc._line_integral import potential_rise, score_potential
from dlmath.mcmc._mala import MALA, MALAState
from dlmath.mcmc._pareto import Smoothed, pareto_smooth
from dlmath.mcmc._preconditioned_sgld import PreconditionedSGLD, PreconditionedSGLDState
from dlmath.mcmc._schedules import Cyclical, cyclical, noise_levels
from dlmath.mcmc._sghmc import SGHMC, SGHMCState
from dlmath.mcmc._sgld import SGLD, SGLDState
from dlmath.mcmc._sgnht import SGNHT, SGNHTState
from dlmath.mcmc._ula import ULA, ULAState
from dlmath.mcmc._underdamped import UnderdampedLangevin, UnderdampedState

RESULTS_VERSION = 1
"""Raised when the numbers this subpackage returns change: stored results are then computed again."""

__all__ = [
    "AnnealedLangevin",
    "BlackjaxState",
    "Cyclical",
    "FromBlackjax",
    "Importance",
    "LangevinKernel",
    "MALA",
    "MALAState",
    "PreconditionedSGLD",
    "PreconditionedSGLDState",
    "RESULTS_VERSION",
    "SGHMC",
    "SGHMCState",
    "SGLD",
    "SGLDState",
    "SGNHT",
    "SGNHTState",
    "Smoothed",
    "StationaryLaw",
    "ULA",
    "ULAState",
    "UnderdampedLangevin",
    "UnderdampedState",
    "acceptance",
    "check_curl",
    "curl",
    "curl_estimate",
    "cyclical",
    "diagnostics",
    "gamblers_ruin",
    "gamblers_ruin_probability",
    "importance",
    "noise_levels",
    "pareto_smooth",
    "potential_rise",
    "score_potential",
    "stationary_law",
    "targets",
]
