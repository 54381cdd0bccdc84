"""Langevin-family kernels for `numpyro.infer.MCMC`, each with its law on a Gaussian in closed form.

A target is given as a numpyro model, as a potential U = −log density, or as its score s = −∇U alone.
"""

from dlmath.mcmc._acceptance import acceptance
from dlmath.mcmc._annealed import AnnealedLangevin
from dlmath.mcmc._blackjax import BlackjaxState, FromBlackjax
from dlmath.mcmc._curl import check_curl, curl, curl_estimate
from dlmath.mcmc._kernel import LangevinKernel
from dlmath.mcmc._laws import StationaryLaw, stationary_law
from dlmath.mcmc._line_integral import potential_rise, score_potential
from dlmath.mcmc._mala import MALA, MALAState
from dlmath.mcmc._preconditioned_sgld import PreconditionedSGLD, PreconditionedSGLDState
from dlmath.mcmc._schedules import Cyclical, cyclical, noise_levels
from dlmath.mcmc._sghmc import SGHMC, SGHMCState
from dlmath.mcmc._sgld import SGLD, SGLDState
from dlmath.mcmc._sgnht import SGNHT, SGNHTState
from dlmath.mcmc._ula import ULA, ULAState
from dlmath.mcmc._underdamped import UnderdampedLangevin, UnderdampedState

__all__ = [
    "AnnealedLangevin",
    "BlackjaxState",
    "Cyclical",
    "FromBlackjax",
    "LangevinKernel",
    "MALA",
    "MALAState",
    "PreconditionedSGLD",
    "PreconditionedSGLDState",
    "SGHMC",
    "SGHMCState",
    "SGLD",
    "SGLDState",
    "SGNHT",
    "SGNHTState",
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
    "noise_levels",
    "potential_rise",
    "score_potential",
    "stationary_law",
]
