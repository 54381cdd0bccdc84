"""Linear algebra: regularised least squares and kernel regression.

Least squares share one convention, ‖y − Xβ‖²/n + λ‖β‖² (the penalty λ multiplies n in the normal equations),
and so does its kernel form, ‖y − f(X)‖²/n + λ‖f‖².
"""

from dlmath.linalg._gram import gram
from dlmath.linalg._kernel_ridge import KernelRidge, interpolate, kernel_ridge, predict
from dlmath.linalg._least_squares import min_norm, ridge
from dlmath.linalg._operator import Operator, from_matrix, operator

RESULTS_VERSION = 1
"""Raised when the numbers this subpackage returns change: stored results are then computed again."""

__all__ = [
    "KernelRidge",
    "Operator",
    "RESULTS_VERSION",
    "from_matrix",
    "gram",
    "interpolate",
    "kernel_ridge",
    "min_norm",
    "operator",
    "predict",
    "ridge",
]
