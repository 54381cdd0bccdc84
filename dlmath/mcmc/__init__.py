"""Langevin-family kernels for `numpyro.infer.MCMC`, each with its law on a Gaussian in closed form.

A target is given as a numpyro model, as a potential U = −log density, or as its score s = −∇U alone.
"""

from dlmath.mcmc._annealed import AnnealedLangevin
from dlmath.mcmc._blackjax import FromBlackjax
from dlmath.mcmc._curl import check_curl, curl, curl_estimate
from dlmath.mcmc._kernel import LangevinKernel
from dlmath.mcmc._laws import StationaryLaw, stationary_law
from dlmath.mcmc._line_integral import potential_rise, score_potential
from dlmath.mcmc._mala import MALA, acceptance
from dlmath.mcmc._preconditioned_sgld import PreconditionedSGLD
from dlmath.mcmc._schedules import Cyclical, cyclical, noise_levels
from dlmath.mcmc._sghmc import SGHMC
from dlmath.mcmc._sgld import SGLD
from dlmath.mcmc._sgnht import SGNHT
from dlmath.mcmc._ula import ULA
from dlmath.mcmc._underdamped import UnderdampedLangevin

__all__ = [
    "AnnealedLangevin",
    "Cyclical",
    "FromBlackjax",
    "LangevinKernel",
    "MALA",
    "PreconditionedSGLD",
    "SGHMC",
    "SGLD",
    "SGNHT",
    "StationaryLaw",
    "ULA",
    "UnderdampedLangevin",
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
