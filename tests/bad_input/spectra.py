"""Malformed calls of Lanczos, eigenpairs, operators and plans."""

import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm

KEY = jax.random.key(0)
OP = dm.linalg.from_matrix(jnp.diag(jnp.arange(1.0, 13.0)))
TREE = dm.linalg.operator(
    lambda v: jax.tree.map(lambda leaf: 2 * leaf, v), {"a": {"weight": jnp.ones(2)}, "b": jnp.ones(3)}
)
LOPSIDED = dm.linalg.from_matrix(jnp.triu(jnp.ones((12, 12))))
NAN = dm.linalg.from_matrix(jnp.full((12, 12), jnp.nan))


def late(vector):
    """Not finite once the last entry is reached."""
    hop = jnp.zeros_like(vector).at[1:].add(vector[:-1]).at[:-1].add(vector[1:])
    return jnp.where(vector[-1] != 0, jnp.nan, hop)


LATE = dm.linalg.operator(late, jnp.zeros(6))
lanczos, eigenpairs = dm.linalg.lanczos, dm.linalg.eigenpairs

CASES = [
    (
        "a matrix for an operator",
        lambda: lanczos(KEY, np.eye(3), None, 2),
        TypeError,
        "op must be an Operator.*ndarray",
    ),
    ("a seed for a key", lambda: lanczos(0, OP, None, 2), TypeError, r"key must be a typed key"),
    ("no steps", lambda: lanczos(KEY, OP, None, 0), ValueError, "num_steps must be positive, got 0"),
    ("half a step", lambda: lanczos(KEY, OP, None, 0.5), TypeError, "num_steps must be an integer"),
    (
        "a start of another length",
        lambda: lanczos(KEY, OP, jnp.ones(3), 2),
        ValueError,
        r"v0 must be a vector of the operator's space.*got .* shapes \[\(3,\)\]",
    ),
    ("a start of another structure", lambda: lanczos(KEY, TREE, jnp.ones(5), 2), ValueError, "v0 must be a vector"),
    ("a start that is not finite", lambda: lanczos(KEY, OP, jnp.full(12, jnp.inf), 2), ValueError, "v0 must be finite"),
    ("NaN from every product", lambda: lanczos(KEY, NAN, None, 4), ValueError, "NaN or infinity at step 0"),
    ("NaN from a late product", lambda: lanczos(KEY, LATE, jnp.eye(6)[0], 6), ValueError, "NaN or infinity at step 5"),
    ("eigenpairs, NaN", lambda: eigenpairs(KEY, NAN, 2), ValueError, "NaN or infinity at step 0"),
    ("eigenpairs, late NaN", lambda: eigenpairs(KEY, LATE, 2, v0=jnp.eye(6)[0]), ValueError, "infinity at step 5"),
    (
        "more pairs than dimensions",
        lambda: eigenpairs(KEY, OP, 13),
        ValueError,
        "k must be at most the dimension of the operator, 12, got 13",
    ),
    ("no pairs", lambda: eigenpairs(KEY, OP, 0), ValueError, "k must be positive, got 0"),
    (
        "misspelt end",
        lambda: eigenpairs(KEY, OP, 2, which="larges"),
        ValueError,
        "which must be one of.*did you mean 'largest'",
    ),
    (
        "misspelt method",
        lambda: eigenpairs(KEY, OP, 2, method="lobcpg"),
        ValueError,
        "method must be one of.*did you mean 'lobpcg'",
    ),
    (
        "relative to nothing",
        lambda: eigenpairs(KEY, OP, 2, relative_to="value"),
        ValueError,
        "relative_to must be one of.*did you mean 'eigenvalue'",
    ),
    (
        "many pairs by lobpcg",
        lambda: eigenpairs(KEY, OP, 3, method="lobpcg"),
        ValueError,
        "needs 5k < n, got k = 3 and n = 12; use method='lanczos'",
    ),
    ("no tolerance", lambda: eigenpairs(KEY, OP, 2, tol=0.0), ValueError, "tol must be positive, got 0"),
    (
        "a basis without room",
        lambda: eigenpairs(KEY, OP, 5, basis_size=6),
        ValueError,
        r"basis_size must be at least k \+ 2 = 7.*got 6",
    ),
    (
        "negative restarts",
        lambda: eigenpairs(KEY, OP, 2, max_restarts=-1),
        ValueError,
        "max_restarts must be non-negative",
    ),
    (
        "warm start of another space",
        lambda: eigenpairs(KEY, OP, 2, v0=jnp.ones((2, 3))),
        ValueError,
        "v0 must be a vector",
    ),
    (
        "an operator that is not symmetric",
        lambda: eigenpairs(KEY, LOPSIDED, 2),
        ValueError,
        r"op must be symmetric, but <u, Av> and <Au, v> differ by",
    ),
    (
        "not symmetric, by lobpcg",
        lambda: eigenpairs(KEY, LOPSIDED, 2, method="lobpcg"),
        ValueError,
        "op must be symmetric",
    ),
    (
        "not symmetric, probed",
        lambda: dm.linalg.check_symmetric(KEY, LOPSIDED),
        ValueError,
        "check the order of transpositions",
    ),
    ("not finite, probed", lambda: dm.linalg.check_symmetric(KEY, NAN), ValueError, "op must have finite products"),
    ("sum of nothing", lambda: dm.linalg.sum(), ValueError, "ops must hold at least one operator"),
    ("sum of two spaces", lambda: dm.linalg.sum(OP, TREE), ValueError, "ops must act on one space"),
    ("scale in words", lambda: dm.linalg.scale(OP, "double"), TypeError, "factor must be a real number"),
    ("shift to infinity", lambda: dm.linalg.shift(OP, np.inf), ValueError, "amount must be finite"),
    (
        "misspelt layer",
        lambda: dm.linalg.restrict(TREE, "a/wieght"),
        ValueError,
        "select must be one of.*did you mean 'a/weight'",
    ),
    (
        "no layer",
        lambda: dm.linalg.restrict(TREE, lambda name: False),
        ValueError,
        "select must select at least one of 'a/weight', 'b', got none",
    ),
    ("empty list of layers", lambda: dm.linalg.restrict(TREE, []), ValueError, "select must name at least one"),
    (
        "deflation by a single vector",
        lambda: dm.linalg.deflate(OP, jnp.ones(12)),
        ValueError,
        "vectors must be vectors .* with a leading axis",
    ),
    (
        "deflation by too few values",
        lambda: dm.linalg.deflate(OP, jnp.ones((2, 12)), [1.0]),
        ValueError,
        "values must be one a vector, 2, got 1",
    ),
    ("deflation by a scalar", lambda: dm.linalg.deflate(OP, jnp.asarray(1.0)), ValueError, "vectors must be vectors"),
    ("dense of a matrix", lambda: dm.linalg.dense(np.eye(2)), TypeError, "op must be an Operator"),
    (
        "matvec that changes the shape",
        lambda: dm.linalg.operator(lambda v: v[:2], jnp.ones(3)),
        ValueError,
        "matvec must return a vector like its argument",
    ),
    (
        "integer leaves",
        lambda: dm.linalg.operator(lambda v: v, jnp.arange(3)),
        TypeError,
        "like must have floating leaves, got int32",
    ),
    (
        "no entries",
        lambda: dm.linalg.operator(lambda v: v, jnp.zeros(0)),
        ValueError,
        "like must have at least one entry",
    ),
    (
        "a matrix that is not square",
        lambda: dm.linalg.from_matrix(jnp.ones((2, 3))),
        ValueError,
        "matrix must be square",
    ),
    (
        "a negative error of products",
        lambda: dm.linalg.operator(lambda v: v, jnp.ones(3), matvec_eps=-1.0),
        ValueError,
        "matvec_eps must be positive",
    ),
    (
        "plan of an unknown run",
        lambda: dm.linalg.plan(OP, "density"),
        ValueError,
        "method must be one of.*did you mean 'spectral_density'",
    ),
    (
        "plan of too many pairs",
        lambda: dm.linalg.plan(OP, "eigenpairs", k=20),
        ValueError,
        "k must be at most 12, got 20",
    ),
]
