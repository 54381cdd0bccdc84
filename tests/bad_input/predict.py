"""Malformed calls of predictions from Gram matrices."""

import numpy as np

from dlmath import linalg
from dlmath.ntk import (
    Grams,
    alignment,
    effective_rank,
    gp_posterior,
    gradient_descent,
    learning_curve,
    max_learning_rate,
    ntk_ensemble,
    spectrum,
    task_coefficients,
)

K, Y = np.eye(3), np.ones(3)
GRAMS = Grams(K, np.ones((2, 3)), np.eye(2))
INDEFINITE = np.diag([1.0, 1.0, -0.5])

CASES = [
    ("a posterior of one matrix", lambda: gp_posterior(K, Y), TypeError, r"grams must be Grams\(train, new, prior\)"),
    (
        "a posterior of fewer targets",
        lambda: gp_posterior(GRAMS, Y[:2]),
        ValueError,
        r"grams.train and y must have the same number of rows, got shapes \(3, 3\) and \(2,\)",
    ),
    (
        "a posterior with rows and columns exchanged",
        lambda: gp_posterior(GRAMS._replace(new=np.ones((3, 2))), Y),
        ValueError,
        r"grams.new must have 3 columns, one a training input, got \(3, 2\)",
    ),
    (
        "a prior of other points",
        lambda: gp_posterior(GRAMS._replace(prior=np.eye(3)), Y),
        ValueError,
        r"grams.prior must be \[m, m\] or \[m\] with m = 2, got \(3, 3\)",
    ),
    (
        "duplicate points without noise and jitter",
        lambda: gp_posterior(Grams(np.ones((3, 3)), np.ones((2, 3))), Y, jitter=0.0),
        ValueError,
        r"grams.train is not positive definite in float32 .* smallest eigenvalue .*; raise noise or jitter, drop rep",
    ),
    (
        "an indefinite kernel",
        lambda: gradient_descent(INDEFINITE, Y, 1.0),
        ValueError,
        r"theta must be positive semi-definite, got smallest eigenvalue -0.5 .*compute the kernel in float64",
    ),
    ("a negative time", lambda: gradient_descent(K, Y, -1.0), ValueError, r"time must be non-negative, got -1"),
    (
        "a learning rate of 0",
        lambda: gradient_descent(K, Y, 1.0, learning_rate=0.0),
        ValueError,
        r"learning_rate must be positive, got 0",
    ),
    (
        "initial outputs of another number",
        lambda: gradient_descent(K, Y, 1.0, initial=np.ones((3, 2))),
        ValueError,
        r"initial must have as many outputs as y, 1, got 2",
    ),
    (
        "an ensemble of two sets of new points",
        lambda: ntk_ensemble(GRAMS, GRAMS._replace(new=np.ones((4, 3))), Y),
        ValueError,
        r"ntk.new must have the shape of nngp.new, \(2, 3\), got \(4, 3\)",
    ),
    ("a rate of momentum 1", lambda: max_learning_rate(K, momentum=1.0), ValueError, r"momentum must be less than 1"),
    (
        "the spectrum of a rectangle",
        lambda: spectrum(np.ones((2, 3))),
        ValueError,
        r"gram must be a square matrix \[n, n\], got shape \(2, 3\)",
    ),
    (
        "the spectrum of a matrix that is not symmetric",
        lambda: spectrum(np.array([[1.0, 0.5], [0.0, 1.0]])),
        ValueError,
        r"gram must be symmetric, got entries that differ by 0.5",
    ),
    (
        "coefficients of fewer targets",
        lambda: task_coefficients(spectrum(K), Y[:2]),
        ValueError,
        r"spectrum and targets must have the same number of rows",
    ),
    ("an unknown rank", lambda: effective_rank(K, kind="entropic"), ValueError, r"did you mean 'entropy'"),
    ("the rank of nothing", lambda: effective_rank(np.zeros(3)), ValueError, r"spectrum must hold non-negative"),
    ("alignment with text", lambda: alignment(K, ["a", "b", "c"]), TypeError, r"targets must be an array of numbers"),
    (
        "a learning curve of negative eigenvalues",
        lambda: learning_curve(np.array([1.0, -0.1]), np.ones(2), 5),
        ValueError,
        r"eigenvalues must be non-negative and not all zero, got them from -0.1 to 1",
    ),
    (
        "a learning curve without points",
        lambda: learning_curve(Y, Y, 0),
        ValueError,
        r"num_train must be positive, got 0",
    ),
    (
        "a learning curve of negative ridge",
        lambda: learning_curve(Y, Y, 5, ridge=-1.0),
        ValueError,
        r"ridge must be non-negative, got -1",
    ),
    (
        "a posterior by an unknown method",
        lambda: gp_posterior(GRAMS, Y, method="lu"),
        ValueError,
        r"method must be one of 'auto', 'cholesky', 'cg', got 'lu'",
    ),
    (
        "a tolerance of a factorisation",
        lambda: gp_posterior(GRAMS, Y, tol=1e-3),
        ValueError,
        r"tol is an option of method='cg', got tol=0.001 with n = 3",
    ),
    (
        "an operator to be factorised",
        lambda: gp_posterior(GRAMS._replace(train=linalg.from_matrix(K)), Y, method="cholesky"),
        ValueError,
        r"method must be 'auto' or 'cg' for grams.train an operator, got 'cholesky'",
    ),
    (
        "an operator on other points",
        lambda: gp_posterior(GRAMS._replace(train=linalg.from_matrix(np.eye(4))), Y),
        ValueError,
        r"y must have a row for each of the 4 numbers grams.train acts on, got 3",
    ),
    (
        "conjugate gradients on an indefinite matrix",
        lambda: gp_posterior(GRAMS._replace(train=INDEFINITE), Y, method="cg"),
        ValueError,
        r"grams.train is not positive definite with noise and jitter: a direction of curvature",
    ),
]
