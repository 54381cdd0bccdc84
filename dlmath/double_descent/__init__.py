"""Double descent: random features, sweeps over capacities, and what to read off their curves.

Penalties follow `dlmath.linalg`: ‖y − Zβ‖²/n + λ‖β‖².
"""

from dlmath.double_descent._features import FeatureMap, feature_map
from dlmath.double_descent._peak import Peak, Threshold, interpolation_threshold, peak
from dlmath.double_descent._sweep import RidgeSweep, mean_square, ridge_sweep

RESULTS_VERSION = 1
"""Raised when the numbers this subpackage returns change: stored results are then computed again."""

__all__ = [
    "FeatureMap",
    "Peak",
    "RESULTS_VERSION",
    "RidgeSweep",
    "Threshold",
    "feature_map",
    "interpolation_threshold",
    "mean_square",
    "peak",
    "ridge_sweep",
]
