"""Malformed calls of dlmath.hessian: operators, sums over batches, tests of derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import hessian
from dlmath.train import losses

KEY = jax.random.key(0)
W, X, Y = np.ones([3, 2]), np.ones([4, 3]), np.zeros([4, 2])


def apply(params, x):
    return x @ params


def objective(params, x, y):
    return losses.mse(apply(params, x), y)


def make(params, x, y):
    return hessian.operator(objective, params, x, y)


class Unhashable:
    __hash__ = None

    def __call__(self, params):
        return jnp.sum(params)


CASES = [
    (
        "operator, integer parameters",
        lambda: hessian.operator(objective, {"w": np.ones(2, int)}, X, Y),
        TypeError,
        r"params must have floating leaves, got int64 at 'w'; what is not trained belongs in the data",
    ),
    (
        "operator, a word among the parameters",
        lambda: hessian.operator(objective, ["relu"], X, Y),
        TypeError,
        r"params must have floating leaves, got str at '0'",
    ),
    (
        "operator, no parameters",
        lambda: hessian.operator(objective, {}, X, Y),
        ValueError,
        r"params must have at least one entry, got none",
    ),
    (
        "operator, objective not scalar",
        lambda: hessian.operator(lambda w, x: x @ w, W, X),
        ValueError,
        r"objective must return a floating scalar, got float32\[4, 2\]; reduce it with jnp.mean",
    ),
    (
        "operator, objective with auxiliary output",
        lambda: hessian.operator(lambda w: (jnp.sum(w), 1.0), W),
        ValueError,
        r"objective must return a floating scalar, got \(",
    ),
    (
        "operator, objective no function",
        lambda: hessian.operator("mse", W, X, Y),
        TypeError,
        r"objective must be a function, got 'mse'",
    ),
    (
        "operator, objective not hashable",
        lambda: hessian.operator(Unhashable(), W),
        TypeError,
        r"objective must be hashable.*give a function of \(params, \*data\)",
    ),
    (
        "operator, empty batch",
        lambda: hessian.operator(objective, W, X[:0], Y[:0]),
        ValueError,
        r"data must have at least one row, got an array of shape \(0, 3\)",
    ),
    ("linearized, a matrix", lambda: hessian.linearized(W), TypeError, r"op must be an Operator.*got ndarray"),
    (
        "ggn, loss of each example",
        lambda: hessian.ggn(apply, lambda f, y: jnp.sum((f - y) ** 2, -1), W, X, Y),
        ValueError,
        r"loss must return a floating scalar, got float32\[4\]",
    ),
    (
        "ggn, targets of another shape",
        lambda: hessian.ggn(apply, losses.mse, W, X, Y[:, 0]),
        ValueError,
        r"outputs and targets of mse must have the same shape",
    ),
    (
        "ggn, empty batch",
        lambda: hessian.ggn(apply, losses.mse, W, X[:0], Y[:0]),
        ValueError,
        r"data must have at least one row",
    ),
    (
        "fisher, unknown kind",
        lambda: hessian.fisher(apply, losses.mse, W, X, Y, kind="emprical"),
        ValueError,
        r"kind must be one of 'expected', 'empirical', got 'emprical'; did you mean 'empirical'\?",
    ),
    (
        "fisher, empirical without targets",
        lambda: hessian.fisher(apply, losses.mse, W, X, kind="empirical"),
        ValueError,
        r"y must be given for kind='empirical'",
    ),
    (
        "fisher, empirical with one target too few",
        lambda: hessian.fisher(apply, losses.mse, W, X, Y[:3], kind="empirical"),
        ValueError,
        r"y must be an array of shape \(4,\) or \(4, 2\).*got \(3, 2\)",
    ),
    (
        "fisher, neither targets nor likelihood",
        lambda: hessian.fisher(apply, losses.mse, W, X),
        ValueError,
        r"y or likelihood \(one of categorical, gaussian, bernoulli\) must be given",
    ),
    (
        "fisher, targets and likelihood",
        lambda: hessian.fisher(apply, losses.mse, W, X, Y, likelihood="gaussian"),
        ValueError,
        r"likelihood must be None where y is given",
    ),
    (
        "fisher_sampled, unknown likelihood",
        lambda: hessian.fisher_sampled(KEY, apply, losses.mse, W, X, likelihood="normal"),
        ValueError,
        r"likelihood must be one of 'categorical', 'gaussian', 'bernoulli', got 'normal'",
    ),
    (
        "fisher_sampled, classes without an axis",
        lambda: hessian.fisher_sampled(KEY, apply, losses.cross_entropy, W[:, 0], X, likelihood="categorical"),
        ValueError,
        r"outputs of a categorical likelihood must be logits \[n, classes\], got shape \(4,\)",
    ),
    (
        "fisher_sampled, old-style key",
        lambda: hessian.fisher_sampled(0, apply, losses.mse, W, X, likelihood="gaussian"),
        TypeError,
        r"key must be a typed key",
    ),
    (
        "fisher_sampled, no samples",
        lambda: hessian.fisher_sampled(KEY, apply, losses.mse, W, X, likelihood="gaussian", num_samples=0),
        ValueError,
        r"num_samples must be positive, got 0",
    ),
    (
        "over_batches, empty data",
        lambda: hessian.over_batches(make, W, X[:0], Y[:0], batch_size=2),
        ValueError,
        r"data must have at least one row",
    ),
    (
        "over_batches, rows differ",
        lambda: hessian.over_batches(make, W, X, Y[:3], batch_size=2),
        ValueError,
        r"data must be arrays with the same number of rows, got shapes \(3, 2\), \(4, 3\)",
    ),
    (
        "over_batches, batch of no rows",
        lambda: hessian.over_batches(make, W, X, Y, batch_size=0),
        ValueError,
        r"batch_size must be positive, got 0",
    ),
    (
        "over_batches, unknown reduction",
        lambda: hessian.over_batches(make, W, X, Y, batch_size=2, reduction="average"),
        ValueError,
        r"reduction must be one of 'mean', 'sum', got 'average'",
    ),
    (
        "over_batches, an objective in place of an operator",
        lambda: hessian.over_batches(objective, W, X, Y, batch_size=2),
        TypeError,
        r"make's result must be an Operator",
    ),
    (
        "over_host_batches, no batches",
        lambda: hessian.over_host_batches(make, W, []),
        ValueError,
        r"batches must hold at least one batch, got none",
    ),
    (
        "over_host_batches, an empty batch",
        lambda: hessian.over_host_batches(make, W, [(X[:0], Y[:0])]),
        ValueError,
        r"data must have at least one row",
    ),
    (
        "over_host_batches, a generator",
        lambda: hessian.over_host_batches(make, W, ((X, Y) for _ in range(2))),
        TypeError,
        r"batches must be iterable more than once, got a generator.*function that returns a new iterator",
    ),
    (
        "over_host_batches, compiled",
        lambda: jax.jit(hessian.over_host_batches(make, W, [(X, Y)]))(jnp.ones([3, 2])),
        TypeError,
        r"vector must be concrete for batches from the host.*use over_batches",
    ),
    (
        "taylor_test, integer point",
        lambda: hessian.taylor_test(KEY, jnp.sum, np.arange(3)),
        TypeError,
        r"x must have floating leaves, got int32; cast it",
    ),
    (
        "taylor_test, gradient of another shape",
        lambda: hessian.taylor_test(KEY, jnp.sum, np.ones(3), gradient=lambda x: x[:2]),
        ValueError,
        r"gradient must return a pytree of shapes \(3,\), got \(2,\)",
    ),
    (
        "taylor_test, gradient of a vector function",
        lambda: hessian.taylor_test(KEY, jnp.sin, np.ones(3), gradient=jnp.cos),
        ValueError,
        r"function must be scalar where a gradient or a hessian is given",
    ),
    (
        "taylor_test, function not finite",
        lambda: hessian.taylor_test(KEY, lambda x: jnp.sum(jnp.log(x)), np.zeros(3)),
        ValueError,
        r"function must be finite at x, got -inf",
    ),
    (
        "taylor_test, too few steps",
        lambda: hessian.taylor_test(KEY, jnp.sum, np.ones(3), num_steps=3),
        ValueError,
        r"num_steps must be at least 6, got 3",
    ),
    (
        "adjoint_test, no adjoint",
        lambda: hessian.adjoint_test(KEY, jnp.sin, like=np.ones(3)),
        TypeError,
        r"adjoint must be given where forward is no Operator",
    ),
    (
        "adjoint_test, adjoint into another space",
        lambda: hessian.adjoint_test(KEY, lambda u: u[:2], lambda v: v, np.ones(3)),
        ValueError,
        r"adjoint must return a pytree of shapes \(3,\), got \(2,\)",
    ),
    (
        "gradient_noise_scale, two examples",
        lambda: hessian.gradient_noise_scale(objective, W, X[:2], Y[:2]),
        ValueError,
        r"data must have at least 3 rows, got 2",
    ),
    (
        "gradient_noise_scale, objective not scalar",
        lambda: hessian.gradient_noise_scale(functools.partial(lambda w, x: x @ w), W, X),
        ValueError,
        r"objective must return a floating scalar",
    ),
    (
        "gradient_noise_scale, no rows",
        lambda: hessian.gradient_noise_scale(objective, W, 1.0, 2.0),
        ValueError,
        r"data must be arrays with the same number of rows",
    ),
]
