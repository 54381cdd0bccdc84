"""Generators have the moments, formulas and ranges they state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import make_moons

import dlmath as dm

KEY = jax.random.key(20)


def _x64(program):
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, jax.jit(program)())


COVARIANCES = [
    ("isotropic", {"variance": 2.0}, lambda d: 2 * np.eye(d)),
    ("ar1", {"correlation": 0.7}, lambda d: 0.7 ** np.abs(np.subtract.outer(np.arange(d), np.arange(d)))),
    ("ar1", {"correlation": -0.5}, lambda d: (-0.5) ** np.abs(np.subtract.outer(np.arange(d), np.arange(d)))),
    ("spiked", {"spikes": (5.0, 0.1)}, lambda d: np.diag([5, 0.1, *[1] * (d - 2)])),
    ("power_law", {"exponent": 1.5}, lambda d: np.diag(np.arange(1, d + 1) ** -1.5)),
]


@pytest.mark.parametrize(("name", "parameters", "expected"), COVARIANCES)
def test_covariance_matrix_is_its_formula(name, parameters, expected):
    matrix = dm.data.covariance_matrix(name, 5, **parameters)
    np.testing.assert_allclose(matrix, expected(5), rtol=1e-6)


@pytest.mark.parametrize(("name", "parameters", "expected"), COVARIANCES)
def test_gaussian_features_have_that_covariance(name, parameters, expected):
    n, d = 20000, 5
    x = _x64(lambda: dm.data.gaussian_features(KEY, n, d, covariance=name, **parameters))
    sigma = expected(d)
    # Var of an entry of x xᵀ is Σ_ii Σ_jj + Σ_ij².
    error = np.sqrt((np.outer(np.diag(sigma), np.diag(sigma)) + sigma**2) / n)
    assert (np.abs(x.T @ x / n - sigma) < 4.5 * error).all()
    assert (np.abs(x.mean(0)) < 4.5 * np.sqrt(np.diag(sigma) / n)).all()


def test_points_on_the_sphere_have_its_radius_and_isotropic_second_moment():
    n, d = 20000, 4
    x = _x64(lambda: dm.data.sphere(KEY, n, d, radius=2.0))
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 2.0, rtol=1e-12)
    # E x xᵀ = r²/d I; Var x_i² = r⁴ 2(d - 1)/(d²(d + 2)), Var x_i x_j = r⁴/(d(d + 2)).
    variance = np.where(np.eye(d, dtype=bool), 16 * 2 * (d - 1) / (d**2 * (d + 2)), 16 / (d * (d + 2)))
    assert (np.abs(x.T @ x / n - np.eye(d)) < 4.5 * np.sqrt(variance / n)).all()
    assert (np.abs(x.mean(0)) < 4.5 / np.sqrt(n)).all()


def test_linear_sample_is_signal_plus_noise_of_the_stated_size():
    n, d = 5000, 30
    x, y, coefficients = _x64(
        lambda: dm.data.linear_gaussian(KEY, n, d, covariance="ar1", correlation=0.5, signal=3.0, noise_std=0.5)
    )
    assert np.linalg.norm(coefficients) == pytest.approx(3.0)
    noise = y - x @ coefficients
    assert noise.var() == pytest.approx(0.25, rel=4.5 * np.sqrt(2 / n))
    assert abs(noise.mean()) < 4.5 * 0.5 / np.sqrt(n)


def test_coefficients_can_be_given_and_noise_switched_off():
    beta = np.arange(4.0)
    train = dm.data.linear_gaussian(KEY, 10, 4, coefficients=beta, noise_std=0.0)
    test = dm.data.linear_gaussian(jax.random.key(1), 10, 4, coefficients=train.coefficients, noise_std=0.0)
    np.testing.assert_allclose(test.y, test.x @ beta, rtol=1e-5)
    assert (np.asarray(train.x) != np.asarray(test.x)).all()


def test_noise_level_and_signal_can_be_traced():
    draw = jax.vmap(lambda noise_std: dm.data.linear_gaussian(KEY, 10, 4, noise_std=noise_std).y)
    quiet, loud = draw(jnp.array([0.0, 2.0]))
    np.testing.assert_allclose(loud, dm.data.linear_gaussian(KEY, 10, 4, noise_std=2.0).y, rtol=1e-5)
    np.testing.assert_allclose(quiet, dm.data.linear_gaussian(KEY, 10, 4, noise_std=0.0).y, rtol=1e-5)


def test_teacher_targets_are_the_teacher_plus_noise():
    weights = jnp.array([[1.0, -1.0], [2.0, 0.5], [0.0, 1.0]])
    teacher = lambda params, x: jax.nn.relu(x @ params)
    clean = dm.data.teacher_student(KEY, teacher, weights, 4000, 3)
    np.testing.assert_allclose(clean.y, teacher(weights, clean.x), rtol=1e-6)
    noisy = dm.data.teacher_student(KEY, teacher, weights, 4000, 3, noise_std=0.3)
    np.testing.assert_array_equal(noisy.x, clean.x)
    assert float(jnp.var(noisy.y - clean.y)) == pytest.approx(0.09, rel=4.5 * np.sqrt(2 / 8000))


def test_mixture_components_have_their_weights_means_and_deviations():
    n = 20000
    means, std = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, -4.0]]), np.array([0.5, 1.0, 2.0])
    x, y = _x64(lambda: dm.data.gaussian_mixture(KEY, n, means, std, weights=[1, 2, 1]))
    for k, weight in enumerate((0.25, 0.5, 0.25)):
        member = x[y == k]
        assert len(member) / n == pytest.approx(weight, abs=4.5 * np.sqrt(weight * (1 - weight) / n))
        assert (np.abs(member.mean(0) - means[k]) < 4.5 * std[k] / np.sqrt(len(member))).all()
        np.testing.assert_allclose(member.std(0), std[k], rtol=4.5 / np.sqrt(2 * len(member)))


def test_mixture_log_density_agrees_with_scipy():
    from scipy.stats import multivariate_normal

    means, std, weights = np.array([[0.0, 1.0], [2.0, -1.0]]), np.array([0.5, 1.5]), np.array([3.0, 1.0])
    x = np.random.default_rng(0).normal(size=(20, 2))
    density = sum(
        w / 4 * multivariate_normal(mean, s**2 * np.eye(2)).pdf(x)
        for w, mean, s in zip(weights, means, std, strict=True)
    )
    ours = _x64(lambda: dm.data.gaussian_mixture_log_density(x, means, std, weights))
    np.testing.assert_allclose(ours, np.log(density), rtol=1e-12)


def test_entropy_of_the_course_mixture_is_1_05195_nats():
    n = 20000

    def log_densities():
        x = dm.data.gaussian_mixture(KEY, n, *dm.data.MIXTURE_1D).x
        return dm.data.gaussian_mixture_log_density(x, *dm.data.MIXTURE_1D)

    values = -_x64(log_densities)
    assert values.mean() == pytest.approx(1.05195, abs=4.5 * values.std() / np.sqrt(n))


def test_moons_lie_on_the_curves_of_scikit_learn():
    sample = dm.data.moons(KEY, 400)
    reference, labels = make_moons(4000, random_state=0)
    for k in (0, 1):
        ours, curve = np.asarray(sample.x)[np.asarray(sample.y) == k], reference[labels == k]
        distance = np.sqrt(((ours[:, None] - curve[None]) ** 2).sum(-1)).min(1)
        assert distance.max() < np.pi / 2000


def test_circles_have_radii_1_and_factor():
    x, y = dm.data.circles(KEY, 100, factor=0.3)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), np.where(np.asarray(y) == 0, 1.0, 0.3), rtol=1e-5)


def test_noise_is_added_with_its_standard_deviation():
    n = 20000
    noisy, clean = (_x64(lambda s=s: dm.data.circles(KEY, n, noise_std=s).x) for s in (0.1, 0.0))
    assert (noisy - clean).std() == pytest.approx(0.1, rel=4.5 / np.sqrt(2 * 2 * n))


def test_ellipses_are_separated_by_the_unit_ellipse():
    x, y = (np.asarray(a) for a in dm.data.ellipses(KEY, 500))
    level = x[:, 0] ** 2 + (x[:, 1] / 0.4) ** 2
    assert (level[y == 0] <= 1 + 1e-5).all()
    assert ((level[y == 1] >= 1 - 1e-5) & (level[y == 1] <= 4 + 1e-5)).all()
    # Uniform in radius, not in area: the mean of √level is ½ and 3/2.
    for k in (0, 1):
        radii = np.sqrt(level[y == k])
        assert radii.mean() == pytest.approx(k + 0.5, abs=4.5 / np.sqrt(12 * len(radii)))


def test_rings_fill_every_other_unit_interval_of_radius():
    x, y = (np.asarray(a) for a in dm.data.rings(KEY, 900))
    excess = np.linalg.norm(x, axis=1) - 2 * y
    assert ((excess >= -1e-5) & (excess <= 1 + 1e-5)).all()
    assert np.bincount(y).tolist() == [300] * 3


def test_spiral_arms_are_rotated_copies_of_one_archimedean_curve():
    x, y = _x64(lambda: dm.data.spiral(KEY, 300, num_arms=3, turns=2.0))
    radius, angle = np.linalg.norm(x, axis=1), np.arctan2(x[:, 1], x[:, 0])
    np.testing.assert_allclose(np.cos(angle - 2 * np.pi * (2 * radius + y / 3)), 1, atol=1e-8)
    assert radius.max() <= 1


def test_swiss_roll_radius_is_a_tenth_of_its_angle_and_uniform_in_square():
    n = 5000
    x, t = _x64(lambda: dm.data.swiss_roll(KEY, n, noise_std=0.0))
    np.testing.assert_allclose(x, 0.1 * t[:, None] * np.c_[np.cos(t), np.sin(t)], atol=1e-12)
    u = (t / (2 * np.pi)) ** 2
    assert 0.25 <= u.min() < u.max() <= 4
    assert u.mean() == pytest.approx(2.125, abs=4.5 * 3.75 / np.sqrt(12 * n))


def test_swiss_roll_arms_are_a_fifth_apart_in_radius():
    x, y = _x64(lambda: dm.data.swiss_roll_arms(KEY, 200))
    t = 4 * np.pi * (np.linalg.norm(x, axis=1) - 0.2 * y)
    np.testing.assert_allclose(np.cos(t - np.arctan2(x[:, 1], x[:, 0])), 1, atol=1e-8)
    assert 0 <= t.min() < t.max() <= 4 * np.pi


def test_swiss_roll_grid_alternates_training_and_test_points():
    data = dm.data.swiss_roll_grid(8)
    assert len(data.x) == len(data.x_test) == 17
    # First arm: radius and angle grow together from 0 to 1 and 4π in steps of 1/16; second: 0.2 further out.
    radius = np.sort(np.linalg.norm(np.concatenate([data.x, data.x_test]), axis=1))
    np.testing.assert_allclose(radius, np.sort(np.r_[np.arange(17) / 16, np.arange(17) / 16 + 0.2]), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(data.x[data.y == 0], axis=1), np.arange(0, 17, 2) / 16, atol=1e-12)


def test_peaks_has_matlabs_range_on_the_256_grid():
    axis = np.linspace(-3, 3, 256)
    heights = _x64(lambda: dm.data.peaks(np.stack(np.meshgrid(axis, axis), axis=-1)))
    assert heights.min() == pytest.approx(-6.5497, abs=5e-5)
    assert heights.max() == pytest.approx(8.1054, abs=5e-5)
    # Areas of the five equally high slices, computed independently.
    edges = np.linspace(heights.min(), heights.max(), 6)
    areas = np.histogram(heights, edges)[0] / heights.size
    np.testing.assert_allclose(areas, [0.028, 0.122, 0.726, 0.097, 0.027], atol=6e-4)


def test_peaks_classes_are_slices_of_the_surface_and_balanced():
    x, y = _x64(lambda: dm.data.peaks_classification(KEY, 1000))
    assert np.bincount(y).tolist() == [200] * 5
    u, v = x.T
    heights = (
        3 * (1 - u) ** 2 * np.exp(-(u**2) - (v + 1) ** 2)
        - 10 * (u / 5 - u**3 - v**5) * np.exp(-(u**2) - v**2)
        - np.exp(-((u + 1) ** 2) - v**2) / 3
    )
    step = (8.1054 + 6.5497) / 5
    np.testing.assert_array_equal(y, np.clip(np.ceil((heights + 6.5497) / step) - 1, 0, 4))
    # Points are on the grid and differ: with 2.7 % of 65,536 points a class of 200 repeats few.
    np.testing.assert_allclose((x + 3) / 6 * 255, np.round((x + 3) / 6 * 255), atol=1e-9)
    assert len(np.unique(x[y == 4], axis=0)) > 180


def test_every_point_of_a_peaks_class_is_equally_likely():
    x, y = _x64(lambda: dm.data.peaks_classification(KEY, 6000, num_classes=2, grid_size=4))
    for k in (0, 1):
        counts = np.unique(x[y == k], axis=0, return_counts=True)[1]
        expected = 3000 / len(counts)
        # χ² below its mean plus 5 standard deviations.
        assert ((counts - expected) ** 2 / expected).sum() < len(counts) - 1 + 5 * np.sqrt(2 * len(counts))


def test_peaks_regression_targets_are_the_surface_plus_noise():
    clean, noisy = (_x64(lambda s=s: dm.data.peaks_regression(KEY, 5000, noise_std=s)) for s in (0.0, 0.5))
    np.testing.assert_allclose(clean.y, _x64(lambda: dm.data.peaks(clean.x)), rtol=1e-12)
    assert np.abs(clean.x).max() <= 3
    assert clean.x.var() == pytest.approx(3, rel=0.05)
    assert (noisy.y - clean.y).std() == pytest.approx(0.5, rel=4.5 / np.sqrt(2 * 5000))


def test_noisy_sine_residuals_are_the_noise():
    n = 5000
    x, y = _x64(lambda: dm.data.noisy_sine(KEY, n, low=-1.0, high=3.0, frequency=2.0, noise_std=0.2))
    assert -1 <= x.min() < x.max() <= 3
    assert x.mean() == pytest.approx(1, abs=4.5 * 4 / np.sqrt(12 * n))
    residual = y - np.sin(2 * x[:, 0])
    assert residual.std() == pytest.approx(0.2, rel=4.5 / np.sqrt(2 * n))


def test_cosine_ramp_has_standard_normal_inputs():
    n = 20000
    x, y = _x64(lambda: dm.data.cosine_ramp(KEY, n))
    np.testing.assert_allclose(y, (x[:, 0] - 2) * np.cos(4 * x[:, 0]), atol=1e-12)
    assert x.var() == pytest.approx(1, rel=4.5 * np.sqrt(2 / n))
    # E (x - 2) cos 4x = -2 e^-8 for a standard normal x.
    assert y.mean() == pytest.approx(-2 * np.exp(-8), abs=4.5 * y.std() / np.sqrt(n))


def test_parity_is_uncorrelated_with_every_smaller_product():
    n = 20000
    x, y = _x64(lambda: dm.data.sparse_parity(KEY, n, 6, 3, support=(1, 2, 5)))
    np.testing.assert_array_equal(y, x[:, 1] * x[:, 2] * x[:, 5])
    assert set(np.unique(x)) == {-1.0, 1.0}
    pairs = (x.T * y) @ x / n
    np.fill_diagonal(pairs, 0)
    assert np.abs(pairs).max() < 4.5 / np.sqrt(n)
    assert np.abs(x.T @ y / n).max() < 4.5 / np.sqrt(n)


def test_modular_addition_lists_every_pair_once():
    p = 11
    data = dm.data.modular_addition(KEY, p, train_fraction=0.3, one_hot=False)
    assert len(data.x) == round(0.3 * p * p)
    pairs = np.concatenate([data.x, data.x_test])
    assert len(np.unique(pairs, axis=0)) == p * p
    np.testing.assert_array_equal(np.concatenate([data.y, data.y_test]), pairs.sum(1) % p)


def test_modular_addition_one_hot_is_two_indicators_of_the_same_pairs():
    p = 7
    coded, pairs = (dm.data.modular_addition(KEY, p, one_hot=one_hot) for one_hot in (True, False))
    np.testing.assert_array_equal(coded.x.reshape(-1, 2, p).argmax(-1), pairs.x)
    np.testing.assert_array_equal(coded.x.sum(1), 2)
    np.testing.assert_array_equal(coded.y_test, pairs.y_test)


@pytest.mark.parametrize(
    "draw",
    [
        lambda key: dm.data.gaussian_features(key, 8, 3, covariance="ar1"),
        lambda key: dm.data.moons(key, 8).x,
        lambda key: dm.data.peaks_classification(key, 8, grid_size=64).x,
        lambda key: dm.data.modular_addition(key, 5, one_hot=False).x,
    ],
)
def test_a_key_determines_the_draw_and_another_changes_it(draw):
    np.testing.assert_array_equal(draw(KEY), draw(KEY))
    assert (np.asarray(draw(KEY)) != np.asarray(draw(jax.random.key(21)))).any()
