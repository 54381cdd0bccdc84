"""Curvature of a network: Hessian, Gauss-Newton and Fisher matrices as operators, what is measured on them, and tests
of derivatives.

Everything takes functions, `objective(params, *data)` or `apply(params, x)` with `loss(outputs, targets)`, and returns
an `Operator`, whose spectrum, trace and solutions are found by `linalg`.
"""

from dlmath.hessian._batches import over_batches, over_host_batches
from dlmath.hessian._decompose import ClassMeans, Decomposition, class_means, decompose, knock_out
from dlmath.hessian._fisher import fisher, fisher_sampled
from dlmath.hessian._ggn import ggn
from dlmath.hessian._noise import GradientNoise, gradient_noise_scale
from dlmath.hessian._operator import linearized, operator
from dlmath.hessian._rescale import dinh_rescaling
from dlmath.hessian._sam import SamSharpness, sam_sharpness
from dlmath.hessian._sharpness import Sharpness, sharpness, sharpness_of
from dlmath.hessian._slices import Path, Plane, Slice, interpolate, random_direction, slice_1d, slice_2d
from dlmath.hessian._threshold import stability_threshold
from dlmath.hessian._verify import TaylorTest, adjoint_test, taylor_test

RESULTS_VERSION = 1
"""Raised when the numbers this subpackage returns change: stored results are then computed again."""

__all__ = [
    "ClassMeans",
    "Decomposition",
    "GradientNoise",
    "Path",
    "Plane",
    "RESULTS_VERSION",
    "SamSharpness",
    "Sharpness",
    "Slice",
    "TaylorTest",
    "adjoint_test",
    "class_means",
    "decompose",
    "dinh_rescaling",
    "fisher",
    "fisher_sampled",
    "ggn",
    "gradient_noise_scale",
    "interpolate",
    "knock_out",
    "linearized",
    "operator",
    "over_batches",
    "over_host_batches",
    "random_direction",
    "sam_sharpness",
    "sharpness",
    "sharpness_of",
    "slice_1d",
    "slice_2d",
    "stability_threshold",
    "taylor_test",
]
