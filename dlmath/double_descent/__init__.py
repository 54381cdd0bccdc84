"""Double descent: random features, least squares at every capacity, and what to read off the curves.

Penalties follow `dlmath.linalg`: ‖y − Zβ‖²/n + λ‖β‖².
"""

from dlmath.double_descent._bias_variance import BiasVariance, bias_variance
from dlmath.double_descent._features import FeatureMap, feature_map
from dlmath.double_descent._fits import (
    polynomial_features,
    polynomial_fit,
    trigonometric_features,
    trigonometric_fit,
)
from dlmath.double_descent._krylov import HybridLSQR, hybrid_lsqr
from dlmath.double_descent._moments import Moments, moments, ridge_from_moments
from dlmath.double_descent._peak import Peak, Threshold, interpolation_threshold, peak
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
from dlmath.double_descent._sweep import RidgeSweep, mean_square, ridge_sweep

RESULTS_VERSION = 1
"""Raised when the numbers this subpackage returns change: stored results are then computed again."""

__all__ = [
    "BiasVariance",
    "Decomposition",
    "FeatureMap",
    "Filter",
    "HybridLSQR",
    "LCurve",
    "Moments",
    "Peak",
    "Picard",
    "RESULTS_VERSION",
    "RidgeSweep",
    "Threshold",
    "bias_variance",
    "coefficients",
    "cross_validation",
    "decompose",
    "degrees_of_freedom",
    "feature_map",
    "fitted",
    "gcv",
    "gradient_flow",
    "hybrid_lsqr",
    "interpolation_threshold",
    "l_curve",
    "leave_one_out",
    "mean_square",
    "moments",
    "peak",
    "picard",
    "polynomial_features",
    "polynomial_fit",
    "ridge_from_moments",
    "ridge_sweep",
    "tikhonov",
    "trigonometric_features",
    "trigonometric_fit",
    "truncated",
]
