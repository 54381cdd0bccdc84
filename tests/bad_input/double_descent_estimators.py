"""Malformed calls of the estimators of dlmath.double_descent."""

import jax
import numpy as np

from dlmath import double_descent as dd

KEY = jax.random.key(0)
X, Y = np.ones([6, 3], np.float32), np.ones(6, np.float32)
MAP = dd.feature_map(KEY, 3, 9, kind="relu")
FOUND = dd.decompose(X, Y)
CURVE = np.ones((2, 3))


def draw(sample, noise):
    return X, Y


CASES = [
    ("feature_map, no features", lambda: dd.feature_map(KEY, 3, 0, kind="relu"), ValueError, r"num_features must be positive, got 0"),
    ("feature_map, no inputs", lambda: dd.feature_map(KEY, 0, 3, kind="relu"), ValueError, r"num_inputs must be positive, got 0"),
    ("feature_map, a seed for a key", lambda: dd.feature_map(0, 3, 3, kind="relu"), TypeError, r"key must be a typed key"),
    ("feature_map, misspelled kind", lambda: dd.feature_map(KEY, 3, 3, kind="furier"), ValueError, r"kind must be one of .* did you mean 'fourier'"),
    ("feature_map, kind no function", lambda: dd.feature_map(KEY, 3, 3, kind=3), TypeError, r"kind must be a function, got 3"),
    ("feature_map, unknown weights", lambda: dd.feature_map(KEY, 3, 3, kind="relu", weights="uniform"), ValueError, r"weights must be one of"),
    ("feature_map, bandwidth of a network", lambda: dd.feature_map(KEY, 3, 3, kind="relu", bandwidth=1.0), ValueError, r"bandwidth must be left out unless kind"),
    ("feature_map, weights of Fourier features", lambda: dd.feature_map(KEY, 3, 3, kind="fourier", weight_std=2.0), ValueError, r"weight_std and bias_std must be left out"),
    ("feature_map, bandwidth zero", lambda: dd.feature_map(KEY, 3, 3, kind="fourier", bandwidth=0.0), ValueError, r"bandwidth must be positive, got 0"),
    ("feature_map, negative bias", lambda: dd.feature_map(KEY, 3, 3, kind="erf", bias_std=-1.0), ValueError, r"bias_std must be non-negative, got -1"),
    ("feature map, inputs of another dimension", lambda: MAP(X[:, :2]), ValueError, r"x must have shape \[n, 3\], got \(6, 2\)"),
    ("ridge_sweep, no capacities", lambda: dd.ridge_sweep(MAP, (X, Y), [], [1.0]), ValueError, r"capacities must not be empty"),
    ("ridge_sweep, capacity zero", lambda: dd.ridge_sweep(MAP, (X, Y), [0, 1], [1.0]), ValueError, r"capacities\[0\] must be positive, got 0"),
    ("ridge_sweep, fractions of features", lambda: dd.ridge_sweep(MAP, (X, Y), [1.5], [1.0]), TypeError, r"capacities\[0\] must be an integer"),
    ("ridge_sweep, capacities out of order", lambda: dd.ridge_sweep(MAP, (X, Y), [3, 2], [1.0]), ValueError, r"capacities must increase strictly, got \[3, 2\]; sort"),
    ("ridge_sweep, more than there are", lambda: dd.ridge_sweep(MAP, (X, Y), [10], [1.0]), ValueError, r"capacities must be at most the number of features, 9, got 10"),
    ("ridge_sweep, one capacity", lambda: dd.ridge_sweep(MAP, (X, Y), 3, [1.0]), TypeError, r"capacities must be a sequence of integers, got 3"),
    ("ridge_sweep, negative penalty", lambda: dd.ridge_sweep(MAP, (X, Y), [3], [1.0, -0.1]), ValueError, r"penalty must be non-negative, got -0.1"),
    ("ridge_sweep, penalty a number", lambda: dd.ridge_sweep(MAP, (X, Y), [3], 1.0), ValueError, r"penalty must have 1 or 2 dimensions"),
    ("ridge_sweep, no penalty", lambda: dd.ridge_sweep(MAP, (X, Y), [3], []), ValueError, r"penalty must not be empty"),
    ("ridge_sweep, penalties of other capacities", lambda: dd.ridge_sweep(MAP, (X, Y), [3], np.ones((2, 4))), ValueError, r"penalty must be \[k\] or \[1, k\], one row a capacity"),
    ("ridge_sweep, no points", lambda: dd.ridge_sweep(MAP, (X[:0], Y[:0]), [3], [1.0]), ValueError, r"x of data must not be empty"),
    ("ridge_sweep, NaN targets", lambda: dd.ridge_sweep(MAP, (X, Y * np.nan), [3], [1.0]), ValueError, r"y of data must be finite, got 6 NaN"),
    ("ridge_sweep, targets of another length", lambda: dd.ridge_sweep(MAP, (X, Y[:4]), [3], [1.0]), ValueError, r"x of data and y of data must have the same number of rows"),
    ("ridge_sweep, test of other columns", lambda: dd.ridge_sweep(MAP, (X, Y), [3], [1.0], test=(X, np.ones((6, 2)))), ValueError, r"test must have the columns of data"),
    ("ridge_sweep, x alone", lambda: dd.ridge_sweep(MAP, X, [3], [1.0]), TypeError, r"data must be a pair \(x, y\)"),
    ("ridge_sweep, a function for a map", lambda: dd.ridge_sweep(np.tanh, (X, Y), [3], [1.0]), TypeError, r"features must be a FeatureMap or None"),
    ("ridge_sweep, score no function", lambda: dd.ridge_sweep(MAP, (X, Y), [3], [1.0], scores={"mse": 1}), TypeError, r"scores\['mse'\] must be a function"),
    ("ridge_sweep, rcond of 1", lambda: dd.ridge_sweep(MAP, (X, Y), [3], [0.0], rcond=1.0), ValueError, r"rcond must be less than 1, got 1"),
    ("moments, blocks of nothing", lambda: dd.moments(MAP, X, Y, block_size=0), ValueError, r"block_size must be positive, got 0"),
    ("ridge_from_moments, too many features", lambda: dd.ridge_from_moments(dd.moments(MAP, X, Y), [1.0], capacity=10), ValueError, r"capacity must be at most 9, got 10"),
    ("ridge_from_moments, negative penalty", lambda: dd.ridge_from_moments(dd.moments(MAP, X, Y), [-1.0]), ValueError, r"penalty must be non-negative, got -1"),
    ("ridge_from_moments, a matrix", lambda: dd.ridge_from_moments(X, [1.0]), TypeError, r"found must be Moments"),
    ("hybrid_lsqr, more steps than dimensions", lambda: dd.hybrid_lsqr(X, Y, [1.0], num_steps=4), ValueError, r"num_steps must be at most 3, got 4"),
    ("hybrid_lsqr, a map without inputs", lambda: dd.hybrid_lsqr(MAP, Y, [1.0], num_steps=2), TypeError, r"x must be given with a FeatureMap"),
    ("hybrid_lsqr, inputs without a map", lambda: dd.hybrid_lsqr(X, Y, [1.0], num_steps=2, x=X), TypeError, r"x must be left out with a design that is an array"),
    ("hybrid_lsqr, negative penalty", lambda: dd.hybrid_lsqr(X, Y, [-1.0], num_steps=2), ValueError, r"penalty must be non-negative"),
    ("decompose, targets of another length", lambda: dd.decompose(X, Y[:3]), ValueError, r"x and y must have the same number of rows"),
    ("tikhonov, negative penalty", lambda: dd.tikhonov(FOUND, -1.0), ValueError, r"penalty must be non-negative, got -1"),
    ("tikhonov, of a matrix", lambda: dd.tikhonov(X, 1.0), TypeError, r"decomposition must be what decompose returned, got ndarray"),
    ("gradient_flow, negative time", lambda: dd.gradient_flow(FOUND, [1.0, -2.0]), ValueError, r"time must be non-negative, got -2"),
    ("truncated, negative rank", lambda: dd.truncated(FOUND, -1), ValueError, r"rank must be non-negative, got -1"),
    ("l_curve, penalty zero", lambda: dd.l_curve(FOUND, [0.0, 1.0]), ValueError, r"penalty must be positive and increasing"),
    ("cross_validation, folds that do not divide", lambda: dd.cross_validation(X, Y, 1.0, num_folds=4), ValueError, r"num_folds must divide the 6 points, got 4; the nearest that does is 3"),
    ("cross_validation, one fold", lambda: dd.cross_validation(X, Y, 1.0, num_folds=1), ValueError, r"num_folds must be at least 2, got 1"),
    ("cross_validation, negative penalty", lambda: dd.cross_validation(X, Y, -1.0, num_folds=2), ValueError, r"penalty must be non-negative, got -1"),
    ("polynomial_fit, negative degree", lambda: dd.polynomial_fit(Y, Y, -1), ValueError, r"degree must be non-negative, got -1"),
    ("polynomial_fit, negative penalty", lambda: dd.polynomial_fit(Y, Y, 1, penalty=-1.0), ValueError, r"penalty must be non-negative, got -1"),
    ("trigonometric_fit, period zero", lambda: dd.trigonometric_fit(Y, Y, 1, period=0.0), ValueError, r"period must be positive, got 0"),
    ("bias_variance, one sample", lambda: dd.bias_variance(KEY, draw, lambda x, y: y, Y, num_samples=1), ValueError, r"num_samples must be at least 2, got 1"),
    ("bias_variance, predictions elsewhere", lambda: dd.bias_variance(KEY, draw, lambda x, y: y[:2], Y), ValueError, r"predict must return predictions at the 6 test points.*got shape \(2,\)"),
    ("peak, NaN", lambda: dd.peak([1, 2, 3], CURVE * np.nan), ValueError, r"curve must be finite, got 6 NaN"),
    ("peak, other capacities", lambda: dd.peak([1, 2], CURVE), ValueError, r"curve must be \[seed, capacity\] for 2 capacities, got shape \(2, 3\)"),
    ("peak, empty sweep", lambda: dd.peak([], np.ones((2, 0))), ValueError, r"capacities must not be empty"),
    ("peak, no seeds", lambda: dd.peak([1, 2, 3], CURVE[:0]), ValueError, r"curve must not be empty"),
    ("peak, unknown centre", lambda: dd.peak([1, 2, 3], CURVE, centre="max"), ValueError, r"centre must be one of 'mean', 'median', got 'max'"),
    ("interpolation_threshold, negative errors", lambda: dd.interpolation_threshold([1, 2, 3], -CURVE), ValueError, r"train_error must be non-negative, got -1"),
    ("interpolation_threshold, negative tolerance", lambda: dd.interpolation_threshold([1, 2, 3], CURVE, tolerance=-1.0), ValueError, r"tolerance must be non-negative, got -1"),
]  # fmt: skip
