"""Malformed calls of dlmath.ntk."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import ntk
from dlmath.ntk import StoredGram
from dlmath.ntk._gram_store import Layout

KEY = jax.random.key(0)
W, X, OTHER = np.ones([3, 2], np.float32), np.ones([4, 3], np.float32), np.ones([5, 3], np.float32)


def apply(params, x):
    return x @ params


def dot(x1, x2=None):
    return x1 @ (x1 if x2 is None else x2).T


CASES = [
    (
        "empirical, integer parameters",
        lambda: ntk.empirical(apply, {"w": np.ones(2, int)}, X),
        TypeError,
        r"params must have floating leaves, got int64 at 'w'",
    ),
    (
        "empirical, apply no function",
        lambda: ntk.empirical("mlp", W, X),
        TypeError,
        r"apply must be a function, got 'mlp'",
    ),
    (
        "empirical, features of another size",
        lambda: ntk.empirical(apply, W, X, np.ones([5, 2], np.float32)),
        ValueError,
        r"x1 and x2 must have the same features, got float32\[4, 3\] and float32\[5, 2\]",
    ),
    (
        "empirical, inputs of another structure",
        lambda: ntk.empirical(lambda w, x: x["a"] @ w, W, {"a": X}, {"b": X}),
        ValueError,
        r"x1 and x2 must have the same features",
    ),
    (
        "empirical, no examples",
        lambda: ntk.empirical(apply, W, X[:0]),
        ValueError,
        r"x1 must not be empty, got shape \(0, 3\)",
    ),
    (
        "empirical, no examples in the second set",
        lambda: ntk.empirical(apply, W, X, X[:0]),
        ValueError,
        r"x2 must not be empty, got shape \(0, 3\)",
    ),
    (
        "empirical, one example without its axis",
        lambda: ntk.empirical(lambda w, x: x * w, np.float32(1.0), np.float32(2.0)),
        ValueError,
        r"x1 must have a leading batch axis.*got \(\)",
    ),
    (
        "empirical, inputs of unequal lengths",
        lambda: ntk.empirical(lambda w, x: x[0] @ w, W, (X, OTHER)),
        ValueError,
        r"x1 must have a leading batch axis, the same for all its arrays, got \(4, 3\), \(5, 3\)",
    ),
    (
        "empirical, NaN inputs",
        lambda: ntk.empirical(apply, W, np.where(X == 1, np.nan, X)),
        ValueError,
        r"x1 must be finite, got 12 NaN",
    ),
    (
        "empirical, words for inputs",
        lambda: ntk.empirical(apply, W, np.array(["a", "b"])),
        TypeError,
        r"x1 must be an array of numbers",
    ),
    (
        "empirical, unknown outputs",
        lambda: ntk.empirical(apply, W, X, outputs="diag"),
        ValueError,
        r"outputs must be one of 'full', 'trace', 'diagonal', got 'diag'; did you mean 'diagonal'\?",
    ),
    (
        "empirical, unknown method",
        lambda: ntk.empirical(apply, W, X, method="jacobean"),
        ValueError,
        r"method must be one of.*got 'jacobean'; did you mean 'jacobian'\?",
    ),
    (
        "empirical, batches of nothing",
        lambda: ntk.empirical(apply, W, X, batch_size=0),
        ValueError,
        r"batch_size must be positive, got 0",
    ),
    (
        "empirical, outputs summed over examples",
        lambda: ntk.empirical(lambda w, x: jnp.sum(x @ w, 0), W, X),
        ValueError,
        r"apply must return one floating array with a row for each of the 4 examples, got float32\[2\]",
    ),
    (
        "empirical, two outputs",
        lambda: ntk.empirical(lambda w, x: (x @ w, x), W, X),
        ValueError,
        r"apply must return one floating array with a row for each of the 4 examples, got \(",
    ),
    (
        "empirical, classes instead of logits",
        lambda: ntk.empirical(lambda w, x: jnp.argmax(x @ w, -1), W, X),
        ValueError,
        r"apply must return one floating array.*got int32\[4\]",
    ),
    (
        "empirical, no outputs",
        lambda: ntk.empirical(lambda w, x: (x @ w)[:, :0], W, X),
        ValueError,
        r"apply must return at least one output for each example, got float32\[4, 0\]",
    ),
    (
        "per_parameter, no parameters",
        lambda: ntk.per_parameter(lambda p, x: x, {}, X),
        ValueError,
        r"params must have at least one entry, got none",
    ),
    (
        "plan, batches of a fraction",
        lambda: ntk.plan(apply, W, X, batch_size=0.5),
        TypeError,
        r"batch_size must be an integer, got 0.5",
    ),
    (
        "operator, outputs that are no array",
        lambda: ntk.operator(lambda w, x: {"f": x @ w}, W, X),
        ValueError,
        r"apply must return one floating array",
    ),
    (
        "operator, no batches",
        lambda: ntk.operator(apply, W, X, batch_size=-1),
        ValueError,
        r"batch_size must be positive, got -1",
    ),
    (
        "linearize, integer parameters",
        lambda: ntk.linearize(apply, np.ones([3, 2], int)),
        TypeError,
        r"params must have floating leaves, got int64",
    ),
    ("taylor, negative order", lambda: ntk.taylor(apply, W, -1), ValueError, r"order must be non-negative, got -1"),
    ("taylor, broken order", lambda: ntk.taylor(apply, W, 1.5), TypeError, r"order must be an integer, got 1.5"),
    (
        "nngp, unknown outputs",
        lambda: ntk.nngp(apply, W, X, outputs="sum"),
        ValueError,
        r"outputs must be one of 'full', 'trace', 'diagonal', got 'sum'",
    ),
    (
        "monte_carlo, one draw",
        lambda: ntk.monte_carlo(KEY, lambda key, x: W, apply, X, num_draws=1),
        ValueError,
        r"num_draws must be at least 2, got 1",
    ),
    (
        "monte_carlo, an old key",
        lambda: ntk.monte_carlo(jax.random.PRNGKey(0), lambda key, x: W, apply, X, num_draws=2),
        TypeError,
        r"key must be a typed key",
    ),
    (
        "monte_carlo, unknown kernel",
        lambda: ntk.monte_carlo(KEY, lambda key, x: W, apply, X, num_draws=2, get="nkt"),
        ValueError,
        r"get must be one of 'ntk', 'nngp', got 'nkt'; did you mean 'ntk'\?",
    ),
    ("lazy, scale of zero", lambda: ntk.lazy(apply, W, 0.0), ValueError, r"alpha must be positive, got 0"),
    ("lazy_loss, no loss", lambda: ntk.lazy_loss("mse", 2.0), TypeError, r"loss must be a function, got 'mse'"),
    (
        "kernel_change, other inputs",
        lambda: ntk.kernel_change(np.eye(3), np.eye(4)),
        ValueError,
        r"kernel0 and kernel1 must have the same shape, got \(3, 3\) and \(4, 4\)",
    ),
    (
        "kernel_change, from zero",
        lambda: ntk.kernel_change(np.zeros([2, 2]), np.eye(2)),
        ValueError,
        r"kernel0 must have an entry that is not zero",
    ),
    (
        "kernel_drift, targets of other inputs",
        lambda: ntk.kernel_drift(apply, X, np.ones(5)),
        ValueError,
        r"x and y must have the same number of rows, got shapes \(4, 3\) and \(5,\)",
    ),
    (
        "kernel_drift, unknown outputs",
        lambda: ntk.kernel_drift(apply, X, outputs="diagonal"),
        ValueError,
        r"outputs must be one of 'trace', 'full', got 'diagonal'",
    ),
    (
        "gram, no tiles",
        lambda: ntk.gram(dot, X, block_size=0),
        ValueError,
        r"block_size must be positive, got 0",
    ),
    ("gram, a matrix for a kernel", lambda: ntk.gram(np.eye(4), X), TypeError, r"kernel must be a function"),
    (
        "gram, other features",
        lambda: ntk.gram(dot, X, np.ones([5, 2], np.float32)),
        ValueError,
        r"x1 and x2 must have the same features",
    ),
    (
        "gram, a kernel of all outputs",
        lambda: ntk.gram(lambda x1, x2=None: np.ones([4, 4, 2, 2]), X),
        ValueError,
        r"kernel must return a matrix of floats of shape \(4, 4\) .*, got float64\[4, 4, 2, 2\]",
    ),
    (
        "gram, a kernel that overflows",
        lambda: ntk.gram(lambda x1, x2=None: np.full([4, 4], np.inf), X),
        ValueError,
        r"kernel must return finite entries, got NaN or infinity in rows 0 to 3 and columns 0 to 3",
    ),
    ("gram, an engine by its name", lambda: ntk.gram(dot, X, engine="dask"), TypeError, r"engine must be a function"),
    (
        "gram, no memory",
        lambda: ntk.gram(dot, X, memory=0),
        ValueError,
        r"memory must be positive, got 0",
    ),
    (
        "gram, memory for less than a row",
        lambda: ntk.gram(dot, X, memory=100.0),
        ValueError,
        r"memory must hold the inputs, 4.8e-05 MB, and the matrix .* a tile of 4 rows, .* got 0.0001 MB; give a store",
    ),
    (
        "gram, the memory of a kernel of NumPy",
        lambda: ntk.gram(lambda x1, x2=None: np.ones([len(x1), 1]) @ np.asarray(x1)[:1, :1], X, memory=1e6),
        ValueError,
        r"memory needs a kernel that JAX can trace, .* give block_size instead",
    ),
    (
        "StoredGram.operator, between two sets of inputs",
        lambda: StoredGram(Path("k"), Layout((4, 5), (4, 5), False, "float32"), {}).operator(),
        ValueError,
        r"store k must hold the Gram matrix of a set of inputs with itself \(x2=None\), got one of two sets, \(4, 5\)",
    ),
    (
        "read_gram, nothing there",
        lambda: ntk.read_gram("/nowhere"),
        FileNotFoundError,
        r"store /nowhere holds no Gram matrix; make it by gram",
    ),
]
