"""Malformed calls of dlmath.linalg."""

import jax.numpy as jnp
import numpy as np

import dlmath as dm

X, Y = np.arange(6.0).reshape(3, 2), np.arange(3.0)
NAN = np.array([[1.0, np.nan], [0.0, 1.0], [2.0, 1.0]])


def linear(x1, x2=None):
    return x1 @ (x1 if x2 is None else x2).T


CASES = [
    ("ridge, negative penalty", lambda: dm.linalg.ridge(X, Y, -1.0), ValueError, r"penalty must be positive, got -1"),
    ("ridge, zero in path", lambda: dm.linalg.ridge(X, Y, [0.1, 0.0]), ValueError, r"penalty must be.*use min_norm"),
    ("ridge, empty path", lambda: dm.linalg.ridge(X, Y, []), ValueError, r"penalty must not be empty"),
    (
        "ridge, grid of penalties",
        lambda: dm.linalg.ridge(X, Y, np.ones([2, 2])),
        ValueError,
        r"penalty must have 0 or 1",
    ),
    ("ridge, penalty in words", lambda: dm.linalg.ridge(X, Y, "small"), TypeError, r"penalty must be an array of num"),
    ("ridge, rows differ", lambda: dm.linalg.ridge(X, Y[:2], 1.0), ValueError, r"x and y must have the same number"),
    (
        "ridge, one row",
        lambda: dm.linalg.ridge(X[0], Y, 1.0),
        ValueError,
        r"x must have 2 dimensions, got shape \(2,\)",
    ),
    ("ridge, NaN", lambda: dm.linalg.ridge(NAN, Y, 1.0), ValueError, r"x must be finite, got 1 NaN.*drop or impute"),
    ("min_norm, no rows", lambda: dm.linalg.min_norm(X[:0], Y[:0]), ValueError, r"x must not be empty"),
    ("min_norm, infinite target", lambda: dm.linalg.min_norm(X, Y / 0.0), ValueError, r"y must be finite"),
    (
        "min_norm, targets of rank 3",
        lambda: dm.linalg.min_norm(X, np.ones([3, 1, 1])),
        ValueError,
        r"y must have 1 or 2",
    ),
    ("min_norm, rcond above 1", lambda: dm.linalg.min_norm(X, Y, rcond=2.0), ValueError, r"rcond must be less than 1"),
    ("min_norm, rcond text", lambda: dm.linalg.min_norm(X, Y, rcond="0"), TypeError, r"rcond must be a real number"),
    ("gram, not a kernel", lambda: dm.linalg.gram("gaussian", X), TypeError, r"kernel must be a function"),
    (
        "gram, no block",
        lambda: dm.linalg.gram(linear, X, block_size=0),
        ValueError,
        r"block_size must be positive, got 0",
    ),
    (
        "gram, half a block",
        lambda: dm.linalg.gram(linear, X, block_size=1.5),
        TypeError,
        r"block_size must be an integer",
    ),
    (
        "gram, other features",
        lambda: dm.linalg.gram(linear, X, X[:, :1]),
        ValueError,
        r"x1 and x2 must have the same f",
    ),
    (
        "gram, kernel of pairs of points",
        lambda: dm.linalg.gram(lambda a, b=None: jnp.sum(a), X),
        ValueError,
        r"kernel must take .* matrix of shape \(3, 3\).*got \(\)",
    ),
    (
        "kernel_ridge, negative penalty",
        lambda: dm.linalg.kernel_ridge(linear, X, Y, -0.1),
        ValueError,
        r"penalty must be non-negative, got -0.1",
    ),
    (
        "interpolate, negative jitter",
        lambda: dm.linalg.interpolate(linear, X, Y, jitter=-1.0),
        ValueError,
        r"jitter must be non-negative",
    ),
    (
        "interpolate, singular kernel matrix",
        lambda: dm.linalg.interpolate(linear, X, Y, jitter=0.0),
        ValueError,
        r"kernel matrix of 3 inputs is not positive definite.*raise jitter or penalty",
    ),
    (
        "predict, other features",
        lambda: dm.linalg.predict(dm.linalg.kernel_ridge(linear, X, Y, 1.0), X[:, :1]),
        ValueError,
        r"x must have the features of the fit, \(2,\), got shape \(3, 1\)",
    ),
    (
        "predict, not a fit",
        lambda: dm.linalg.predict(linear, X),
        TypeError,
        r"fit must be a KernelRidge",
    ),
]
