"""Malformed calls of dlmath.kernels."""

import numpy as np

import dlmath as dm

X = np.arange(6.0).reshape(3, 2)

CASES = [
    (
        "gaussian without scale",
        lambda: dm.kernels.gaussian(),
        TypeError,
        r"exactly one of rate and bandwidth, got neither",
    ),
    (
        "gaussian with two scales",
        lambda: dm.kernels.gaussian(rate=1.0, bandwidth=1.0),
        TypeError,
        r"gaussian takes exactly one of rate and bandwidth, got both",
    ),
    (
        "gaussian, negative rate",
        lambda: dm.kernels.gaussian(rate=-0.02),
        ValueError,
        r"rate must be positive, got -0.02",
    ),
    ("gaussian, NaN rate", lambda: dm.kernels.gaussian(rate=np.nan), ValueError, r"rate must be finite"),
    (
        "laplace, no bandwidth",
        lambda: dm.kernels.laplace(bandwidth=0),
        ValueError,
        r"bandwidth must be positive, got 0",
    ),
    ("laplace, text", lambda: dm.kernels.laplace(bandwidth="auto"), TypeError, r"bandwidth must be a real number"),
    (
        "laplace, a vector of rates",
        lambda: dm.kernels.laplace(rate=np.ones(2)),
        TypeError,
        r"rate must be a real number",
    ),
    ("arc_cosine, order 3", lambda: dm.kernels.arc_cosine(order=3), ValueError, r"order must be at most 2, got 3"),
    ("arc_cosine, order -1", lambda: dm.kernels.arc_cosine(order=-1), ValueError, r"order must be non-negative"),
    ("arc_cosine, fractional", lambda: dm.kernels.arc_cosine(order=0.5), TypeError, r"order must be an integer"),
    ("kernel of nothing", lambda: dm.kernels.gaussian(rate=1.0)(X[:0]), ValueError, r"x1 must not be empty"),
    ("kernel of a scalar", lambda: dm.kernels.laplace(rate=1.0)(3.0), ValueError, r"x1 must have a leading batch axis"),
    (
        "kernel of NaN",
        lambda: dm.kernels.gaussian(rate=1.0)(X, X * np.nan),
        ValueError,
        r"x2 must be finite, got 6 NaN",
    ),
    (
        "kernel of words",
        lambda: dm.kernels.gaussian(rate=1.0)(["a", "b"]),
        TypeError,
        r"x1 must be an array of numbers",
    ),
    (
        "kernel of other features",
        lambda: dm.kernels.arc_cosine()(X, X[:, :1]),
        ValueError,
        r"x1 and x2 must have the same features, got shapes \(3, 2\) and \(3, 1\)",
    ),
    (
        "distances of ragged rows",
        lambda: dm.kernels.squared_distances([[1.0], [1.0, 2.0]]),
        ValueError,
        r"x1 must be an",
    ),
]
