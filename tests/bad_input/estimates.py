"""Malformed calls of the stochastic estimates and the solvers of dlmath.linalg."""

import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm

KEY = jax.random.key(0)
OP = dm.linalg.from_matrix(jnp.diag(jnp.array([1.0, 2.0, 3.0])))
NEGATIVE = dm.linalg.from_matrix(-jnp.eye(3))
NAN = dm.linalg.from_matrix(jnp.full([3, 3], jnp.nan))
ON_HOST = dm.linalg.HostOperator(lambda columns: 2 * columns, 3, np.dtype("float32"))
B = np.ones(3)
ESTIMATE = dm.typing.Estimate(np.zeros(2), np.ones(2))


def density(**options):
    return dm.linalg.spectral_density(KEY, OP, **options)


CASES = [
    (
        "trace, misspelt method",
        lambda: dm.linalg.trace(KEY, OP, num_matvecs=9, method="hutch+"),
        ValueError,
        r"method must be one of 'hutchinson'.*did you mean 'hutch\+\+'",
    ),
    (
        "trace, one product",
        lambda: dm.linalg.trace(KEY, OP, num_matvecs=1),
        ValueError,
        r"num_matvecs must be at least 2, got 1",
    ),
    (
        "trace, three products for xtrace",
        lambda: dm.linalg.trace(KEY, OP, num_matvecs=3, method="xtrace"),
        ValueError,
        r"num_matvecs must be at least 4, got 3",
    ),
    (
        "trace, seed instead of a key",
        lambda: dm.linalg.trace(0, OP, num_matvecs=4),
        TypeError,
        r"key must be a typed key such as jax.random.key\(0\), got 0",
    ),
    (
        "trace, matrix instead of an operator",
        lambda: dm.linalg.trace(KEY, np.eye(3), num_matvecs=4),
        TypeError,
        r"op must be an Operator, as made by .*from_matrix",
    ),
    (
        "trace, misspelt probes",
        lambda: dm.linalg.trace(KEY, OP, num_matvecs=4, probes="rademacer"),
        ValueError,
        r"probes must be one of.*did you mean 'rademacher'",
    ),
    (
        "trace, block of no probes",
        lambda: dm.linalg.trace(KEY, OP, num_matvecs=4, block=0),
        ValueError,
        r"block must be positive, got 0",
    ),
    (
        "trace, NaN in the operator",
        lambda: dm.linalg.trace(KEY, NAN, num_matvecs=4),
        ValueError,
        r"op must have finite products.*look at its arrays",
    ),
    (
        "diagonal, one probe",
        lambda: dm.linalg.diagonal(KEY, OP, num_probes=1),
        ValueError,
        r"num_probes must be at least 2, got 1",
    ),
    (
        "diagonal, half a probe",
        lambda: dm.linalg.diagonal(KEY, OP, num_probes=2.5),
        TypeError,
        r"num_probes must be an integer, got 2.5",
    ),
    (
        "frobenius_norm, several keys",
        lambda: dm.linalg.frobenius_norm(jax.random.split(KEY, 3), OP, num_probes=4),
        ValueError,
        r"key must be one key, got an array of keys of shape \(3,\); vmap over it",
    ),
    (
        "frobenius_norm, NaN in the operator",
        lambda: dm.linalg.frobenius_norm(KEY, NAN, num_probes=4),
        ValueError,
        r"op must have finite products",
    ),
    (
        "logdet, negative definite",
        lambda: dm.linalg.logdet(KEY, NEGATIVE, num_probes=2, num_steps=3),
        ValueError,
        r"op must be positive definite.*the eigenvalue -1 .*add a multiple of the identity",
    ),
    (
        "logdet, no steps",
        lambda: dm.linalg.logdet(KEY, OP, num_probes=2, num_steps=0),
        ValueError,
        r"num_steps must be positive, got 0",
    ),
    (
        "logdet, NaN in the operator",
        lambda: dm.linalg.logdet(KEY, NAN, num_probes=2, num_steps=2),
        ValueError,
        r"op must have finite products, got NaN or infinity at step 0",
    ),
    (
        "density, misspelt scale",
        lambda: density(scale="logarithmic"),
        ValueError,
        r"scale must be one of 'linear', 'log'",
    ),
    ("density, unknown method", lambda: density(method="slr"), ValueError, r"method must be.*did you mean 'slq'"),
    (
        "density, kpm on a log scale",
        lambda: density(method="kpm", scale="log"),
        ValueError,
        r"scale must be \"linear\" with method \"kpm\".*use method \"slq\"",
    ),
    ("density, one probe", lambda: density(num_probes=1), ValueError, r"num_probes must be at least 2, got 1"),
    ("density, one step", lambda: density(num_steps=1), ValueError, r"num_steps must be at least 2, got 1"),
    ("density, bandwidth zero", lambda: density(bandwidth=0.0), ValueError, r"bandwidth must be positive, got 0"),
    ("density, bandwidth in words", lambda: density(bandwidth="auto"), TypeError, r"bandwidth must be a real number"),
    ("density, grid of two axes", lambda: density(grid=np.ones([2, 2])), ValueError, r"grid must have 1 dimensions"),
    ("density, grid with NaN", lambda: density(grid=[0.0, np.nan]), ValueError, r"grid must be finite, got 1 NaN"),
    ("density, level in percent", lambda: density(level=95), ValueError, r"level must be less than 1, got 95"),
    (
        "density, NaN in the operator",
        lambda: dm.linalg.spectral_density(KEY, NAN),
        ValueError,
        r"op must have finite products, got NaN or infinity at step 0",
    ),
    (
        "interval, no degrees of freedom",
        lambda: dm.linalg.interval(ESTIMATE, 0),
        ValueError,
        r"degrees_of_freedom must be positive, got 0",
    ),
    (
        "interval, bare number",
        lambda: dm.linalg.interval(1.0, 3),
        TypeError,
        r"estimate must be an Estimate\(value, standard_error\), got float",
    ),
    (
        "solve, misspelt method",
        lambda: dm.linalg.solve(OP, B, method="mineres"),
        ValueError,
        r"method must be one of 'cg', 'minres'.*did you mean 'minres'",
    ),
    (
        "solve, right-hand side too long",
        lambda: dm.linalg.solve(OP, np.ones(4)),
        ValueError,
        r"b must be a vector of op's space, of shapes \[3\], got shapes \[4\]",
    ),
    (
        "solve, right-hand side in a dictionary",
        lambda: dm.linalg.solve(OP, {"b": B}),
        ValueError,
        r"b must be a vector of op's space",
    ),
    (
        "solve, NaN on the right",
        lambda: dm.linalg.solve(OP, np.array([1.0, np.nan, 0.0])),
        ValueError,
        r"b must be finite, got 1 NaN",
    ),
    (
        "solve, first guess too short",
        lambda: dm.linalg.solve(OP, B, x0=np.ones(2)),
        ValueError,
        r"x0 must be a vector of op's space",
    ),
    (
        "solve, minres on the host",
        lambda: dm.linalg.solve(ON_HOST, B, method="minres"),
        ValueError,
        r"method must be 'cg' for a HostOperator, got 'minres'",
    ),
    (
        "solve, too long for the host",
        lambda: dm.linalg.solve(ON_HOST, np.ones(4)),
        ValueError,
        r"b must be \[3\] or \[3, k\], got shape \(4,\)",
    ),
    (
        "solve, first guess of other columns",
        lambda: dm.linalg.solve(ON_HOST, B, x0=np.ones([3, 2])),
        ValueError,
        r"x0 must have the shape of b, \(3,\), got \(3, 2\)",
    ),
    (
        "solve, on the host inside jit",
        lambda: jax.jit(lambda b: dm.linalg.solve(ON_HOST, b).x)(B),
        TypeError,
        r"b must not be traced: a HostOperator has no products inside jit",
    ),
    (
        "HostOperator, columns of another length",
        lambda: ON_HOST(np.ones([4, 2])),
        ValueError,
        r"vectors must be \[3\] or \[3, k\], got shape \(4, 2\)",
    ),
    (
        "HostOperator, a product of another shape",
        lambda: dm.linalg.HostOperator(lambda v: v[:2], 3, np.dtype("float32"))(B),
        ValueError,
        r"matmat must return columns like its argument, \(3, 1\), got \(2, 1\)",
    ),
    ("solve, tolerance zero", lambda: dm.linalg.solve(OP, B, tol=0.0), ValueError, r"tol must be positive, got 0"),
    ("solve, no steps", lambda: dm.linalg.solve(OP, B, max_steps=0), ValueError, r"max_steps must be positive, got 0"),
    (
        "solve, matrix as preconditioner",
        lambda: dm.linalg.solve(OP, B, preconditioner=np.eye(3)),
        TypeError,
        r"preconditioner must be an Operator near the inverse",
    ),
    (
        "solve, preconditioner of another size",
        lambda: dm.linalg.solve(OP, B, preconditioner=dm.linalg.from_matrix(np.eye(2, dtype=np.float32))),
        ValueError,
        r"preconditioner must act on the vectors of op",
    ),
    (
        "solve, matrix instead of an operator",
        lambda: dm.linalg.solve(np.eye(3), B),
        TypeError,
        r"op must be an Operator",
    ),
]
