"""Kernel functions (x1[n1, ...], x2[n2, ...] or None) -> [n1, n2], where None means x1 against itself.

Each is a pytree whose leaves are its parameters: it can be passed to `jit`, differentiated in its bandwidth and
mapped over bandwidths, and another value compiles nothing anew.
"""

from dlmath.kernels._arc_cosine import arc_cosine
from dlmath.kernels._distances import squared_distances
from dlmath.kernels._stationary import gaussian, laplace
from dlmath.linalg import gram

RESULTS_VERSION = 1

__all__ = [
    "RESULTS_VERSION",
    "arc_cosine",
    "gaussian",
    "gram",
    "laplace",
    "squared_distances",
]
