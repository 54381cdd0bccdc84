"""What the draws of a sampler say about the sampler, and about their distance from where they should be.

Draws are [chain, draw, ...] (pytrees of such arrays where it says so); samples to compare are [n, d].
"""

from dlmath.mcmc.diagnostics._convergence import bulk_ess, ess, rank_normalise, rhat, tail_ess
from dlmath.mcmc.diagnostics._discrepancy import maximum_mean_discrepancy, median_distance
from dlmath.mcmc.diagnostics._energy import Divergences, divergences, missing_information
from dlmath.mcmc.diagnostics._monte_carlo_error import mean, quantile, standard_deviation
from dlmath.mcmc.diagnostics._sliced_wasserstein import sliced_wasserstein
from dlmath.mcmc.diagnostics._stein import SteinTest, stein_discrepancy, stein_test
from dlmath.mcmc.diagnostics._temperature import Temperature, configurational_temperature, kinetic_temperature

__all__ = [
    "Divergences",
    "SteinTest",
    "Temperature",
    "bulk_ess",
    "configurational_temperature",
    "divergences",
    "ess",
    "kinetic_temperature",
    "maximum_mean_discrepancy",
    "mean",
    "median_distance",
    "missing_information",
    "quantile",
    "rank_normalise",
    "rhat",
    "sliced_wasserstein",
    "standard_deviation",
    "stein_discrepancy",
    "stein_test",
    "tail_ess",
]
