"""Neural tangent kernels: empirical ones as matrices and as operators, networks linearised in their parameters, and what
a kernel predicts.

Empirical kernels take functions, `apply(params, x)`, of any network that JAX can trace; predictions, spectra and learning
curves take Gram matrices, empirical or of infinite width.
"""

from dlmath.ntk._alignment import Spectrum, alignment, effective_rank, similarity, spectrum, task_coefficients
from dlmath.ntk._change import KernelChange, kernel_change
from dlmath.ntk._covariance import monte_carlo, nngp
from dlmath.ntk._drift import KernelDrift, kernel_drift
from dlmath.ntk._empirical import empirical, per_parameter
from dlmath.ntk._gram import gram
from dlmath.ntk._gram_store import StoredGram, read_gram
from dlmath.ntk._lazy import lazy, lazy_loss
from dlmath.ntk._learning_curve import LearningCurve, learning_curve
from dlmath.ntk._linearize import linearize, taylor
from dlmath.ntk._operator import operator
from dlmath.ntk._plan import Plan, plan
from dlmath.ntk._predict import Grams, Posterior, gp_posterior, gradient_descent, max_learning_rate, ntk_ensemble

RESULTS_VERSION = 1
"""Raised when the numbers this subpackage returns change: stored results are then computed again."""

__all__ = [
    "Grams",
    "KernelChange",
    "KernelDrift",
    "LearningCurve",
    "Plan",
    "Posterior",
    "RESULTS_VERSION",
    "Spectrum",
    "StoredGram",
    "alignment",
    "effective_rank",
    "empirical",
    "gp_posterior",
    "gradient_descent",
    "gram",
    "kernel_change",
    "kernel_drift",
    "lazy",
    "lazy_loss",
    "learning_curve",
    "linearize",
    "max_learning_rate",
    "monte_carlo",
    "nngp",
    "ntk_ensemble",
    "operator",
    "per_parameter",
    "plan",
    "read_gram",
    "similarity",
    "spectrum",
    "task_coefficients",
    "taylor",
]
