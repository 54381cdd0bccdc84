"""Malformed calls of dlmath.mcmc's targets, diagnostics and importance sampling."""

import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm

KEY = jax.random.key(0)
targets, diagnostics = dm.mcmc.targets, dm.mcmc.diagnostics
DRAWS = np.arange(40.0).reshape(2, 20)
X = np.arange(12.0).reshape(6, 2)
NORMAL = targets.gaussian([0.0])
SPINS = np.ones((4, 4), np.int8)

CASES = [
    ("gaussian, mean of rank 2", lambda: targets.gaussian([[0.0]]), ValueError, r"mean must have 1 dimensions"),
    (
        "gaussian, covariance of another size",
        lambda: targets.gaussian([0.0, 1.0], np.eye(3)),
        ValueError,
        r"covariance must be one number, \[2\] or \[2, 2\]",
    ),
    (
        "gaussian, indefinite",
        lambda: targets.gaussian([0.0, 1.0], [[1.0, 2.0], [2.0, 1.0]]),
        ValueError,
        r"covariance must be positive definite, got the eigenvalue -1",
    ),
    (
        "gaussian, asymmetric",
        lambda: targets.gaussian([0.0, 1.0], [[1.0, 0.5], [0.0, 1.0]]),
        ValueError,
        r"covariance must be symmetric",
    ),
    ("gaussian, NaN", lambda: targets.gaussian([np.nan]), ValueError, r"mean must be finite"),
    (
        "mixture, weights that do not fit",
        lambda: targets.mixture([[0.0], [1.0]], 1.0, [1.0]),
        ValueError,
        r"weights must be one per component \(2\)",
    ),
    (
        "mixture, weight zero",
        lambda: targets.mixture([[0.0], [1.0]], 1.0, [1.0, 0.0]),
        ValueError,
        r"weights must be positive.*leave out",
    ),
    (
        "mixture, variances that do not fit",
        lambda: targets.mixture([[0.0], [1.0]], [1.0, 1.0, 1.0]),
        ValueError,
        r"covariances must be one number, \[2\] or \[2, 1, 1\]",
    ),
    ("draws of a mixture, seed", lambda: NORMAL.sample(0, 10), TypeError, r"key must be a typed key"),
    ("draws of a mixture, none", lambda: NORMAL.sample(KEY, 0), ValueError, r"num_samples must be positive, got 0"),
    ("funnel of one dimension", lambda: targets.funnel(1), ValueError, r"num_dimensions must be at least 2, got 1"),
    ("funnel without scale", lambda: targets.funnel(3, std=0.0), ValueError, r"std must be positive, got 0"),
    ("banana of half dimensions", lambda: targets.banana(2.5), TypeError, r"num_dimensions must be an integer"),
    (
        "logistic regression, labels of sign",
        lambda: targets.logistic_regression(X, [1, -1, 1, 1, -1, 1]),
        ValueError,
        r"y must hold labels 0 or 1, got -1; \(y \+ 1\) / 2",
    ),
    (
        "logistic regression, lengths",
        lambda: targets.logistic_regression(X, [1, 0]),
        ValueError,
        r"x and y must have the same number of rows",
    ),
    (
        "logistic regression, scale",
        lambda: targets.logistic_regression(X, [1, 0, 1, 1, 0, 0], -1.0),
        ValueError,
        r"prior_scale must be positive, got -1",
    ),
    ("ising, one number", lambda: targets.ising(4, 0.3), TypeError, r"shape must be a pair \(height, width\), got 4"),
    ("ising, a line", lambda: targets.ising((1, 4), 0.3), ValueError, r"shape\[0\] must be at least 2, got 1"),
    ("ising, infinite coupling", lambda: targets.ising((2, 2), np.inf), ValueError, r"coupling must be finite"),
    (
        "gibbs, odd sides",
        lambda: targets.gibbs(KEY, np.ones((3, 4)), 0.3, num_samples=1),
        ValueError,
        r"spins must have even sides.*periodic=False",
    ),
    ("gibbs, bits", lambda: targets.gibbs(KEY, 0 * SPINS, 0.3, num_samples=1), ValueError, r"spins must be -1 or 1"),
    ("gibbs, no draws", lambda: targets.gibbs(KEY, SPINS, 0.3, num_samples=0), ValueError, r"num_samples must be pos"),
    (
        "gibbs, no sweep",
        lambda: targets.gibbs(KEY, SPINS, 0.3, num_samples=1, thinning=0),
        ValueError,
        r"thinning must be positive",
    ),
    ("rhat of one axis", lambda: diagnostics.rhat(DRAWS[0]), ValueError, r"draws must be \[chain, draw.*draws\[None\]"),
    ("rhat of few draws", lambda: diagnostics.rhat(DRAWS[:, :3]), ValueError, r"draws must have at least 4 draws a ch"),
    ("ess of nothing", lambda: diagnostics.ess({}), ValueError, r"draws must hold at least one array"),
    (
        "ess of leaves that do not fit",
        lambda: diagnostics.ess({"a": DRAWS, "b": DRAWS[:, :15]}),
        ValueError,
        r"draws must have the same chains and draws in every leaf",
    ),
    ("mean of text", lambda: diagnostics.mean(np.full((2, 9), "a")), TypeError, r"draws must be an array of numbers"),
    ("quantile of percent", lambda: diagnostics.quantile(DRAWS, 95), ValueError, r"probability must be less than 1"),
    (
        "temperature of scores of another shape",
        lambda: diagnostics.configurational_temperature(DRAWS, DRAWS[:, :10]),
        ValueError,
        r"scores must have the shapes of positions",
    ),
    (
        "temperature with masses of another tree",
        lambda: diagnostics.kinetic_temperature({"a": DRAWS}, {"b": 1.0, "c": 2.0}),
        ValueError,
        r"mass must have the structure of a draw",
    ),
    (
        "missing information of positions",
        lambda: diagnostics.missing_information(np.ones((2, 5, 3))),
        ValueError,
        r"energy must have 2 dimensions",
    ),
    (
        "divergences of other draws",
        lambda: diagnostics.divergences(DRAWS > 3, DRAWS[:, :5]),
        ValueError,
        r"draws must have the chains and draws of diverging",
    ),
    (
        "Stein, scores of another shape",
        lambda: diagnostics.stein_discrepancy(X, X[:, :1]),
        ValueError,
        r"scores must have the shape of x",
    ),
    (
        "Stein, misspelt kernel",
        lambda: diagnostics.stein_discrepancy(X, -X, kernel="gausian"),
        ValueError,
        r"kernel must be one of .*did you mean 'gaussian'",
    ),
    (
        "Stein, statistic",
        lambda: diagnostics.stein_discrepancy(X, -X, statistic="w"),
        ValueError,
        r"statistic must be one of 'u', 'v'",
    ),
    (
        "Stein test, flips",
        lambda: diagnostics.stein_test(KEY, X, -X, flip_probability=0.7),
        ValueError,
        r"flip_probability must be at most 0.5",
    ),
    (
        "mean discrepancy of other columns",
        lambda: diagnostics.maximum_mean_discrepancy(dm.kernels.gaussian(bandwidth=1.0), X, X[:, :1]),
        ValueError,
        r"x and y must have the same columns",
    ),
    (
        "mean discrepancy without kernel",
        lambda: diagnostics.maximum_mean_discrepancy("gaussian", X, X),
        TypeError,
        r"kernel must be a function",
    ),
    ("median distance of one", lambda: diagnostics.median_distance(X[:1]), ValueError, r"x must have at least 2 rows"),
    (
        "sliced distance along one line",
        lambda: diagnostics.sliced_wasserstein(KEY, X, X, num_projections=1),
        ValueError,
        r"num_projections must be at least 2",
    ),
    (
        "importance without proposal",
        lambda: dm.mcmc.importance(KEY, NORMAL.log_density, jnp.zeros(3), num_samples=30),
        TypeError,
        r"proposal must have the functions sample\(key, n\) and log_density",
    ),
    (
        "importance, proposal without draws",
        lambda: dm.mcmc.importance(KEY, NORMAL.log_density, targets.eight_schools(), num_samples=30),
        TypeError,
        r"proposal must have .*without sample",
    ),
    (
        "importance, few draws",
        lambda: dm.mcmc.importance(KEY, NORMAL.log_density, NORMAL, num_samples=3),
        ValueError,
        r"num_samples must be at least 25",
    ),
    (
        "importance of an undefined density",
        lambda: dm.mcmc.importance(KEY, lambda x: jnp.log(x[0]), NORMAL, num_samples=30),
        ValueError,
        r"log_target must be less than inf and not NaN",
    ),
    ("few weights", lambda: dm.mcmc.pareto_smooth(np.zeros(10)), ValueError, r"log_weights must be at least 25"),
    (
        "undefined weights",
        lambda: dm.mcmc.pareto_smooth(np.full(30, np.nan)),
        ValueError,
        r"log_weights must be finite or -inf",
    ),
    (
        "gambler who starts at the goal",
        lambda: dm.mcmc.gamblers_ruin(KEY, start=200),
        ValueError,
        r"start must be at most 199",
    ),
    ("gambler who always wins", lambda: dm.mcmc.gamblers_ruin(KEY, win=1.0), ValueError, r"win must be less than 1"),
    (
        "gambler who plays half a game",
        lambda: dm.mcmc.gamblers_ruin_probability(num_plays=0.5),
        TypeError,
        r"num_plays must be an integer",
    ),
]
