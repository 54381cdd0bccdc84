"""Linear algebra: regularised least squares and kernel regression.

Least squares share one convention, ‖y − Xβ‖²/n + λ‖β‖² (the penalty λ multiplies n in the normal equations),
and so does its kernel form, ‖y − f(X)‖²/n + λ‖f‖².
"""

from dlmath.linalg._algebra import check_symmetric, deflate, dense, restrict, scale, shift, sum  # noqa: A004
from dlmath.linalg._density import SpectralDensity, spectral_density
from dlmath.linalg._diagonal import diagonal
from dlmath.linalg._eigenpairs import eigenpairs
from dlmath.linalg._gram import gram
from dlmath.linalg._host import HostOperator
from dlmath.linalg._kernel_ridge import KernelRidge, interpolate, kernel_ridge, predict
from dlmath.linalg._lanczos import Lanczos, lanczos
from dlmath.linalg._least_squares import min_norm, ridge
from dlmath.linalg._logdet import logdet
from dlmath.linalg._nystrom import nystrom_preconditioner
from dlmath.linalg._operator import Operator, from_matrix, operator
from dlmath.linalg._plan import Plan, plan
from dlmath.linalg._probes import interval
from dlmath.linalg._ritz import Eigenpairs
from dlmath.linalg._solve import Solution, solve
from dlmath.linalg._trace import frobenius_norm, trace

RESULTS_VERSION = 1
"""Raised when the numbers this subpackage returns change: stored results are then computed again."""

__all__ = [
    "Eigenpairs",
    "HostOperator",
    "KernelRidge",
    "Lanczos",
    "Operator",
    "Plan",
    "RESULTS_VERSION",
    "Solution",
    "SpectralDensity",
    "check_symmetric",
    "deflate",
    "dense",
    "diagonal",
    "eigenpairs",
    "frobenius_norm",
    "from_matrix",
    "gram",
    "interpolate",
    "interval",
    "kernel_ridge",
    "lanczos",
    "logdet",
    "min_norm",
    "nystrom_preconditioner",
    "operator",
    "plan",
    "predict",
    "restrict",
    "ridge",
    "scale",
    "shift",
    "solve",
    "spectral_density",
    "sum",
    "trace",
]
