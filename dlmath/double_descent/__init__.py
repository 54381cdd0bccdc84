"""Double descent: exact asymptotics of the test error, and estimators whose curves are compared with them.

Theory is in the limit of many samples and many features at a fixed ratio, as a closed form or as the solution of one
scalar equation; everything can be compiled, mapped over and differentiated.
"""

from dlmath.double_descent._anova import anova
from dlmath.double_descent._benign import BenignBound, EffectiveRanks, benign_bound, effective_ranks
from dlmath.double_descent._gradient_flow import Stopping, flow_risk, isotropic_flow_risk, optimal_stopping
from dlmath.double_descent._hermite import HermiteWeights, hermite_weights
from dlmath.double_descent._marchenko_pastur import (
    SpectralRule,
    marchenko_pastur_density,
    marchenko_pastur_rule,
    marchenko_pastur_support,
)
from dlmath.double_descent._mei_montanari import mei_montanari_components, mei_montanari_risk
from dlmath.double_descent._models import LinearModel, latent_space, missing_share
from dlmath.double_descent._optimal_penalty import isotropic_optimal_penalty, optimal_penalty
from dlmath.double_descent._power_laws import PowerLaw, ScalingExponents, power_law, power_law_risk, scaling_exponents
from dlmath.double_descent._random_features import VarianceComponents, random_feature_components, random_feature_risk
from dlmath.double_descent._ridge import Risk, isotropic_risk, ridge_risk
from dlmath.double_descent._stieltjes import companion_stieltjes, stieltjes

RESULTS_VERSION = 1
"""Raised when the numbers this subpackage returns change: stored results are then computed again."""

__all__ = [
    "BenignBound",
    "EffectiveRanks",
    "HermiteWeights",
    "LinearModel",
    "PowerLaw",
    "RESULTS_VERSION",
    "Risk",
    "ScalingExponents",
    "SpectralRule",
    "Stopping",
    "VarianceComponents",
    "anova",
    "benign_bound",
    "companion_stieltjes",
    "effective_ranks",
    "flow_risk",
    "hermite_weights",
    "isotropic_flow_risk",
    "isotropic_optimal_penalty",
    "isotropic_risk",
    "latent_space",
    "marchenko_pastur_density",
    "marchenko_pastur_rule",
    "marchenko_pastur_support",
    "mei_montanari_components",
    "mei_montanari_risk",
    "missing_share",
    "optimal_penalty",
    "optimal_stopping",
    "power_law",
    "power_law_risk",
    "random_feature_components",
    "random_feature_risk",
    "ridge_risk",
    "scaling_exponents",
    "stieltjes",
]
