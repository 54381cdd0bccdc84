"""Curvature of a network: Hessian, Gauss-Newton and Fisher matrices as operators, what is measured on them, and tests
of derivatives.

Everything takes functions, `objective(params, *data)` or `apply(params, x)` with `loss(outputs, targets)`, and returns
an `Operator`, whose spectrum, trace and solutions are found by `linalg`.
"""

RESULTS_VERSION = 1
"""Raised when the numbers this subpackage returns change: stored results are then computed again."""

__all__ = [
    "RESULTS_VERSION",
]
