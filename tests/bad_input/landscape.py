"""Malformed calls of the functions on sharpness and landscapes: (name, call, error, message)."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlmath import hessian, linalg

KEY = jax.random.key(0)
W, X = jnp.ones(3), np.ones((5, 3))
LABELS = np.array([0, 1, 2, 0, 1])


def f(w, *data):
    return jnp.sum(w**2)


def logits(w, x):
    return x @ w


def update(probe, optimizer):
    return probe.update(probe.init(W), W, optimizer.init(W), 0)


def means(y=LABELS, num_classes=3, w=None):
    return hessian.class_means(logits, jnp.eye(3) if w is None else w, X, y, num_classes)


CASES = [
    ("threshold of no name", lambda: hessian.stability_threshold("adm", 0.1), ValueError, "did you mean 'adam'"),
    (
        "threshold of a negative rate",
        lambda: hessian.stability_threshold("gd", -1),
        ValueError,
        "learning_rate must be",
    ),
    ("momentum is missing", lambda: hessian.stability_threshold("momentum", 0.1), ValueError, "momentum must be given"),
    (
        "momentum for adam",
        lambda: hessian.stability_threshold("adam", 0.1, momentum=0.9),
        ValueError,
        "momentum must be None for name='adam'.*use b1",
    ),
    (
        "momentum of one",
        lambda: hessian.stability_threshold("nesterov", 0.1, momentum=1.0),
        ValueError,
        "momentum must be less than 1",
    ),
    ("b1 for gd", lambda: hessian.stability_threshold("gd", 0.1, b1=0.9), ValueError, "b1 must be None"),
    ("sharpness of no function", lambda: hessian.sharpness(3), TypeError, "objective must be a function, got 3"),
    ("too few steps", lambda: hessian.sharpness(f, num_steps=2), ValueError, "num_steps must be at least 3, got 2"),
    (
        "unknown preconditioner",
        lambda: hessian.sharpness(f, preconditioner="rmspop"),
        ValueError,
        "preconditioner must be one of.*did you mean 'rmsprop'",
    ),
    ("rtol of one", lambda: hessian.sharpness(f, rtol=1.0), ValueError, "rtol must be less than 1"),
    (
        "adam's sharpness under sgd",
        lambda: update(hessian.sharpness(f, preconditioner="adam"), optax.sgd(0.1)),
        ValueError,
        "opt_state must hold one ScaleByAdamState.*got 0.*optax.adam",
    ),
    (
        "adam's sharpness of some parameters",
        lambda: update(hessian.sharpness(f, preconditioner="adam"), optax.masked(optax.adam(0.1), False)),
        ValueError,
        "opt_state must hold second moments of all parameters",
    ),
    ("untyped key", lambda: hessian.sharpness_of(0, f, W), TypeError, "key must be a typed key"),
    (
        "sharpness of integers",
        lambda: hessian.sharpness_of(KEY, f, np.arange(3)),
        TypeError,
        "params must have floating",
    ),
    (
        "sharpness without state",
        lambda: hessian.sharpness_of(KEY, f, W, preconditioner="rmsprop"),
        ValueError,
        "opt_state must hold one ScaleByRmsState",
    ),
    ("class means of floats", lambda: means(y=LABELS * 1.0), TypeError, "y must be integer classes"),
    (
        "class out of range",
        lambda: means(y=LABELS + 1),
        ValueError,
        r"y must be in 0..2 for num_classes=3, got \[1 3\]",
    ),
    ("columns are no classes", lambda: means(y=np.eye(4)[LABELS]), ValueError, "y must have num_classes=3 columns"),
    ("one class", lambda: means(num_classes=1), ValueError, "num_classes must be at least 2"),
    ("logits of other classes", lambda: means(w=jnp.ones((3, 2))), ValueError, r"apply must return logits.*\(5, 2\)"),
    (
        "knock out a matrix",
        lambda: hessian.knock_out(linalg.from_matrix(jnp.eye(2)), jnp.eye(2)),
        TypeError,
        r"parts\[0\] must be an Operator",
    ),
    (
        "knock out of another space",
        lambda: hessian.knock_out(linalg.from_matrix(jnp.eye(2)), linalg.from_matrix(jnp.eye(3))),
        ValueError,
        r"parts\[0\] must act on the space of op",
    ),
    (
        "direction of another shape",
        lambda: hessian.slice_1d(f, W, direction=jnp.ones(4), steps=[1.0]),
        ValueError,
        r"direction must be like params, of shapes \[3\], got \[4\]",
    ),
    (
        "steps that are no line",
        lambda: hessian.slice_1d(f, W, direction=W, steps=1.0),
        ValueError,
        "steps must have 1 dimensions",
    ),
    (
        "objective that is no scalar",
        lambda: hessian.slice_1d(lambda w: w, W, direction=W, steps=[1.0]),
        ValueError,
        "objective must return a floating scalar",
    ),
    (
        "one direction for a plane",
        lambda: hessian.slice_2d(f, W, directions=W, steps=[1.0]),
        ValueError,
        r"directions must be a pair \(d1, d2\)",
    ),
    (
        "NaN among the steps",
        lambda: hessian.slice_2d(f, W, directions=(W, W), steps=([np.nan], [1.0])),
        ValueError,
        r"steps\[0\] must be finite",
    ),
    (
        "path of one point",
        lambda: hessian.interpolate(f, W, W, num_points=1),
        ValueError,
        "num_points must be at least 2",
    ),
    ("ends unlike", lambda: hessian.interpolate(f, W, (W,)), ValueError, "params_b must be like params_a"),
    (
        "unknown normalisation",
        lambda: hessian.random_direction(KEY, W, normalise="filters"),
        ValueError,
        "normalise must be one of.*did you mean 'filter'",
    ),
    (
        "filters along no axis",
        lambda: hessian.random_direction(KEY, jnp.ones((2, 3)), filter_axis=2),
        ValueError,
        "filter_axis must be an axis",
    ),
    ("negative radius", lambda: hessian.sam_sharpness(f, W, rho=-0.1), ValueError, "rho must be non-negative"),
    ("no steps of ascent", lambda: hessian.sam_sharpness(f, W, rho=0.1, num_steps=0), ValueError, "num_steps must be"),
    ("start unlike", lambda: hessian.sam_sharpness(f, W, rho=1, start=W[:2]), ValueError, "start must be like params"),
    (
        "adaptive by name",
        lambda: hessian.sam_sharpness(f, W, rho=1, adaptive="yes"),
        TypeError,
        "adaptive must be True",
    ),
    ("alpha of zero", lambda: hessian.dinh_rescaling((W, W), 0.0), ValueError, "alpha must be positive, got 0"),
    (
        "layer by a wrong name",
        lambda: hessian.dinh_rescaling({"first": W, "second": W}, 2.0, layers=("first", "secnd")),
        ValueError,
        "layers must be among.*did you mean 'second'",
    ),
    ("a layer twice", lambda: hessian.dinh_rescaling((W, W), 2.0, layers=(0, 0)), ValueError, "layers must be two"),
    ("rescaling an array", lambda: hessian.dinh_rescaling(W, 2.0), TypeError, "params must be a sequence or dict"),
]
