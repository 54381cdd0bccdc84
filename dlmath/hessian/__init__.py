"""Curvature of a network: Hessian, Gauss-Newton and Fisher matrices as operators, what is measured on them, and tests
of derivatives.

Everything takes functions, `objective(params, *data)` or `apply(params, x)` with `loss(outputs, targets)`, and returns
an `Operator`, whose spectrum, trace and solutions are found by `linalg`.
"""

from dlmath.hessian._ggn import ggn
from dlmath.hessian._operator import linearized, operator
from dlmath.hessian._rescale import dinh_rescaling
from dlmath.hessian._sam import SamSharpness, sam_sharpness
from dlmath.hessian._slices import Path, Plane, Slice, interpolate, random_direction, slice_1d, slice_2d
from dlmath.hessian._threshold import stability_threshold

RESULTS_VERSION = 1
"""Raised when the numbers this subpackage returns change: stored results are then computed again."""

__all__ = [
    "Path",
    "Plane",
    "RESULTS_VERSION",
    "SamSharpness",
    "Slice",
    "dinh_rescaling",
    "ggn",
    "interpolate",
    "linearized",
    "operator",
    "random_direction",
    "sam_sharpness",
    "slice_1d",
    "slice_2d",
    "stability_threshold",
]
