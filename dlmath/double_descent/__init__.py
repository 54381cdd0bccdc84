"""Double descent: exact asymptotics of the test error, and the estimators whose curves are compared with them.

Theory is in the limit of many samples and many features at a fixed ratio, as a closed form or as the solution of one
scalar equation; everything can be compiled, mapped over and differentiated. Penalties of estimators follow
`dlmath.linalg`: ‖y − Zβ‖²/n + λ‖β‖².
"""

from dlmath.double_descent._anova import anova
from dlmath.double_descent._benign import BenignBound, EffectiveRanks, benign_bound, effective_ranks
from dlmath.double_descent._bias_variance import BiasVariance, bias_variance
from dlmath.double_descent._features import FeatureMap, feature_map
from dlmath.double_descent._fits import polynomial_features, polynomial_fit, trigonometric_features, trigonometric_fit
from dlmath.double_descent._gradient_flow import Stopping, flow_risk, isotropic_flow_risk, optimal_stopping
from dlmath.double_descent._hermite import HermiteWeights, hermite_weights
from dlmath.double_descent._krylov import HybridLSQR, hybrid_lsqr
from dlmath.double_descent._marchenko_pastur import (
    SpectralRule,
    marchenko_pastur_density,
    marchenko_pastur_rule,
    marchenko_pastur_support,
)
from dlmath.double_descent._mei_montanari import mei_montanari_components, mei_montanari_risk
from dlmath.double_descent._models import LinearModel, latent_space, missing_share
from dlmath.double_descent._moments import Moments, moments, ridge_from_moments
from dlmath.double_descent._optimal_penalty import isotropic_optimal_penalty, optimal_penalty
from dlmath.double_descent._peak import Peak, Threshold, interpolation_threshold, peak
from dlmath.double_descent._power_laws import PowerLaw, ScalingExponents, power_law, power_law_risk, scaling_exponents
from dlmath.double_descent._random_features import VarianceComponents, random_feature_components, random_feature_risk
from dlmath.double_descent._ridge import Risk, isotropic_risk, ridge_risk
from dlmath.double_descent._selection import cross_validation, gcv, leave_one_out
from dlmath.double_descent._spectral import (
    Decomposition,
    Filter,
    LCurve,
    Picard,
    coefficients,
    decompose,
    degrees_of_freedom,
    fitted,
    gradient_flow,
    l_curve,
    picard,
    tikhonov,
    truncated,
)
from dlmath.double_descent._stieltjes import companion_stieltjes, stieltjes
from dlmath.double_descent._sweep import RidgeSweep, mean_square, ridge_sweep

RESULTS_VERSION = 1
"""Raised when the numbers this subpackage returns change: stored results are then computed again."""

__all__ = [
    "BenignBound",
    "BiasVariance",
    "Decomposition",
    "EffectiveRanks",
    "FeatureMap",
    "Filter",
    "HermiteWeights",
    "HybridLSQR",
    "LCurve",
    "LinearModel",
    "Moments",
    "Peak",
    "Picard",
    "PowerLaw",
    "RESULTS_VERSION",
    "RidgeSweep",
    "Risk",
    "ScalingExponents",
    "SpectralRule",
    "Stopping",
    "Threshold",
    "VarianceComponents",
    "anova",
    "benign_bound",
    "bias_variance",
    "coefficients",
    "companion_stieltjes",
    "cross_validation",
    "decompose",
    "degrees_of_freedom",
    "effective_ranks",
    "feature_map",
    "fitted",
    "flow_risk",
    "gcv",
    "gradient_flow",
    "hermite_weights",
    "hybrid_lsqr",
    "interpolation_threshold",
    "isotropic_flow_risk",
    "isotropic_optimal_penalty",
    "isotropic_risk",
    "l_curve",
    "latent_space",
    "leave_one_out",
    "marchenko_pastur_density",
    "marchenko_pastur_rule",
    "marchenko_pastur_support",
    "mean_square",
    "mei_montanari_components",
    "mei_montanari_risk",
    "missing_share",
    "moments",
    "optimal_penalty",
    "optimal_stopping",
    "peak",
    "picard",
    "polynomial_features",
    "polynomial_fit",
    "power_law",
    "power_law_risk",
    "random_feature_components",
    "random_feature_risk",
    "ridge_from_moments",
    "ridge_risk",
    "ridge_sweep",
    "scaling_exponents",
    "stieltjes",
    "tikhonov",
    "trigonometric_features",
    "trigonometric_fit",
    "truncated",
]
