"""Distributions with known answers, for judging samplers: log density, score, moments, and draws where they are exact.

Positions are arrays [d] (spins [height, width] for `ising`); a batch is `jax.vmap`.
"""

from dlmath.mcmc.targets._banana import banana
from dlmath.mcmc.targets._eight_schools import EIGHT_SCHOOLS_GOLD, EIGHT_SCHOOLS_GOLD_SQUARES, eight_schools
from dlmath.mcmc.targets._funnel import funnel
from dlmath.mcmc.targets._gaussian import gaussian
from dlmath.mcmc.targets._gibbs import gibbs
from dlmath.mcmc.targets._ising import ising
from dlmath.mcmc.targets._logistic_regression import logistic_regression
from dlmath.mcmc.targets._mixture import mixture
from dlmath.mcmc.targets._target import Target

__all__ = [
    "EIGHT_SCHOOLS_GOLD",
    "EIGHT_SCHOOLS_GOLD_SQUARES",
    "Target",
    "banana",
    "eight_schools",
    "funnel",
    "gaussian",
    "gibbs",
    "ising",
    "logistic_regression",
    "mixture",
]
