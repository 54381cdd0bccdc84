"""Malformed calls of dlmath.double_descent."""

import numpy as np

from dlmath import double_descent as dd

TAU = np.array([2.0, 1.0, 0.5])
RUNS = np.ones([3, 3, 3, 2])

CASES = [
    (
        "isotropic_risk, no features",
        lambda: dd.isotropic_risk(0.0, noise=1.0),
        ValueError,
        r"aspect_ratio must be positive, got 0",
    ),
    (
        "isotropic_risk, negative penalty",
        lambda: dd.isotropic_risk(2.0, penalty=-0.1),
        ValueError,
        r"penalty must be non-negative, got -0.1",
    ),
    (
        "isotropic_risk, negative noise",
        lambda: dd.isotropic_risk(2.0, noise=np.array([0.1, -1.0])),
        ValueError,
        r"noise must be non-negative, got -1",
    ),
    (
        "isotropic_risk, ratio that is no number",
        lambda: dd.isotropic_risk(np.nan),
        ValueError,
        r"aspect_ratio must be finite, got 1 NaN",
    ),
    (
        "isotropic_risk, words",
        lambda: dd.isotropic_risk("2"),
        TypeError,
        r"aspect_ratio must be an array of numbers",
    ),
    (
        "isotropic_risk, complex signal",
        lambda: dd.isotropic_risk(2.0, signal=1j),
        TypeError,
        r"signal must be real, got dtype complex128",
    ),
    ("ridge_risk, no eigenvalues", lambda: dd.ridge_risk([], 1.0, 5), ValueError, r"eigenvalues must not be empty"),
    (
        "ridge_risk, negative eigenvalues",
        lambda: dd.ridge_risk([1.0, -1e-3], 1.0, 5),
        ValueError,
        r"eigenvalues must be non-negative and not all zero, got them from -0.001 to 1",
    ),
    (
        "ridge_risk, no variance",
        lambda: dd.ridge_risk(np.zeros(3), 1.0, 5),
        ValueError,
        r"eigenvalues must be non-negative and not all zero",
    ),
    (
        "ridge_risk, a covariance for its eigenvalues",
        lambda: dd.ridge_risk(np.eye(3), 1.0, 5),
        ValueError,
        r"eigenvalues must have 1 dimensions, got shape \(3, 3\)",
    ),
    (
        "ridge_risk, no samples",
        lambda: dd.ridge_risk(TAU, 1.0, 0),
        ValueError,
        r"num_samples must be positive, got 0",
    ),
    (
        "ridge_risk, signal of other features",
        lambda: dd.ridge_risk(TAU, np.ones(2), 5),
        ValueError,
        r"signal must be one number, shared equally, or one for each of the 3 eigenvalues, got shape \(2,\)",
    ),
    (
        "ridge_risk, negative energy",
        lambda: dd.ridge_risk(TAU, -TAU, 5),
        ValueError,
        r"signal must be non-negative, got -2",
    ),
    (
        "optimal_penalty, several noises",
        lambda: dd.optimal_penalty(TAU, 1.0, 5, noise=np.ones(2)),
        ValueError,
        r"noise and unexplained must be single numbers, got shapes \(2,\) and \(\); vmap over them",
    ),
    (
        "isotropic_optimal_penalty, negative signal",
        lambda: dd.isotropic_optimal_penalty(1.0, signal=-1.0, noise=1.0),
        ValueError,
        r"signal must be non-negative, got -1",
    ),
    (
        "latent_space, more latent variables than features",
        lambda: dd.latent_space(3, 4),
        ValueError,
        r"num_features must be at least 4, got 3",
    ),
    (
        "missing_share, growing",
        lambda: dd.missing_share(1.0, 0.0),
        ValueError,
        r"exponent must be positive, got 0",
    ),
    (
        "random_feature_risk, no features",
        lambda: dd.random_feature_risk(TAU, 1.0, 5, 0),
        ValueError,
        r"num_features must be positive, got 0",
    ),
    (
        "random_feature_risk, negative tail",
        lambda: dd.random_feature_risk(TAU, 1.0, 5, 5, tail=-1.0),
        ValueError,
        r"tail must be non-negative, got -1",
    ),
    (
        "random_feature_components, samples that are no number",
        lambda: dd.random_feature_components(TAU, 1.0, np.nan, 5),
        ValueError,
        r"num_samples must be finite, got 1 NaN",
    ),
    (
        "random_feature_components, features that are no number",
        lambda: dd.random_feature_components(TAU, 1.0, 5, np.nan),
        ValueError,
        r"num_features must be numbers, got NaN",
    ),
    (
        "mei_montanari_risk, unknown activation",
        lambda: dd.mei_montanari_risk(2.0, 3.0, 0.1, activation="rellu"),
        ValueError,
        r"rellu.*did you mean 'relu'\?",
    ),
    (
        "mei_montanari_risk, negative penalty",
        lambda: dd.mei_montanari_risk(2.0, 3.0, -0.1),
        ValueError,
        r"penalty must be non-negative, got -0.1",
    ),
    (
        "isotropic_flow_risk, before the start",
        lambda: dd.isotropic_flow_risk(-1.0, 2.0),
        ValueError,
        r"time must be non-negative, got -1",
    ),
    (
        "isotropic_flow_risk, no nodes",
        lambda: dd.isotropic_flow_risk(1.0, 2.0, num_nodes=0),
        ValueError,
        r"num_nodes must be positive, got 0",
    ),
    (
        "flow_risk, several sizes",
        lambda: dd.flow_risk(TAU, 1.0, np.array([3.0, 5.0]), 1.0),
        ValueError,
        r"num_samples must be one number, got shape \(2,\); vmap over it",
    ),
    (
        "optimal_stopping, negative noise",
        lambda: dd.optimal_stopping(TAU, 1.0, 5, noise=-1.0),
        ValueError,
        r"noise must be non-negative, got -1",
    ),
    (
        "stieltjes, on the spectrum",
        lambda: dd.stieltjes(0.5, 1.0),
        ValueError,
        r"z must be negative where it is real, off the spectrum, got 0.5",
    ),
    (
        "companion_stieltjes, complex on the axis",
        lambda: dd.companion_stieltjes(np.array([1 + 1j, 2 + 0j]), 1.0),
        ValueError,
        r"z must have an imaginary part other than 0",
    ),
    (
        "stieltjes, several ratios",
        lambda: dd.stieltjes(-1.0, np.ones(2)),
        ValueError,
        r"aspect_ratio must be one number, got shape \(2,\); vmap over it",
    ),
    (
        "marchenko_pastur_rule, half a node",
        lambda: dd.marchenko_pastur_rule(1.0, 0.5),
        TypeError,
        r"num_nodes must be an integer, got 0.5",
    ),
    (
        "effective_ranks, ascending",
        lambda: dd.effective_ranks(TAU[::-1]),
        ValueError,
        r"eigenvalues must be in descending order, which jnp.sort\(eigenvalues\)\[::-1\] gives",
    ),
    (
        "benign_bound, no threshold",
        lambda: dd.benign_bound(TAU, 5, threshold=0.0),
        ValueError,
        r"threshold must be positive, got 0",
    ),
    (
        "power_law, no modes",
        lambda: dd.power_law(0, 2.0),
        ValueError,
        r"num_modes must be positive, got 0",
    ),
    (
        "scaling_exponents, an infinite trace",
        lambda: dd.scaling_exponents(1.0),
        ValueError,
        r"exponent must be greater than 1, got 1",
    ),
    (
        "power_law_risk, too smooth a target",
        lambda: dd.power_law_risk(10.0, 2.0, 5.0),
        ValueError,
        r"target must be less than 2 · exponent \+ 1",
    ),
    (
        "anova, two levels",
        lambda: dd.anova(RUNS[:2]),
        ValueError,
        r"predictions must have at least 3 levels of each source, got 2 of 'samples'",
    ),
    (
        "anova, an axis without its name",
        lambda: dd.anova(RUNS, names=("samples", "init")),
        ValueError,
        r"predictions must have 3 dimensions, got shape \(3, 3, 3, 2\)",
    ),
    (
        "anova, targets of other points",
        lambda: dd.anova(RUNS, np.ones(3)),
        ValueError,
        r"targets must have one entry for each of the 2 test points, got shape \(3,\)",
    ),
    (
        "anova, one word for the names",
        lambda: dd.anova(RUNS, names="seed"),
        TypeError,
        r"names must be a sequence of strings, one for each source, got 'seed'",
    ),
    (
        "anova, a run that diverged",
        lambda: dd.anova(np.where(RUNS == 1, np.inf, RUNS)),
        ValueError,
        r"predictions must be finite",
    ),
]
