import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import dlmath as dm

diagnostics = dm.mcmc.diagnostics

pytestmark = pytest.mark.usefixtures("float64")


def dense_stein(kernel, x, scores):
    """u(x_i, x_j) from the kernel's derivatives by automatic differentiation."""

    def u(x, y, s, r):
        mixed = jax.jacfwd(jax.grad(kernel, 0), 1)(x, y)
        return s @ r * kernel(x, y) + s @ jax.grad(kernel, 1)(x, y) + r @ jax.grad(kernel, 0)(x, y) + jnp.trace(mixed)

    pairs = jax.vmap(jax.vmap(u, (None, 0, None, 0)), (0, None, 0, None))
    return pairs(x, x, scores, scores)


KERNELS = {
    "imq": lambda x, y: (1 + jnp.sum((x - y) ** 2) / 1.7**2) ** -0.5,
    "gaussian": lambda x, y: jnp.exp(-jnp.sum((x - y) ** 2) / (2 * 1.7**2)),
}


@pytest.mark.parametrize("num_dimensions", [3, 20])
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_stein_discrepancy_is_its_definition(kernel, num_dimensions):
    x = 5.0 + jax.random.normal(jax.random.key(0), (23, num_dimensions))
    scores = -jnp.tanh(x) + x[:, ::-1]
    u = np.asarray(dense_stein(KERNELS[kernel], x, scores))
    off = (u.sum() - np.trace(u)) / (23 * 22)
    found = {
        statistic: diagnostics.stein_discrepancy(x, scores, kernel=kernel, bandwidth=1.7, statistic=statistic, tile=5)
        for statistic in "uv"
    }
    np.testing.assert_allclose(found["u"].value, off, rtol=1e-9)
    np.testing.assert_allclose(found["v"].value, u.mean(), rtol=1e-9)
    test = diagnostics.stein_test(
        jax.random.key(1), x, scores, kernel=kernel, bandwidth=1.7, num_resamples=7, flip_probability=0.3, tile=5
    )
    np.testing.assert_allclose(test.value, u.mean(), rtol=1e-9)
    flips = np.asarray(jax.random.bernoulli(jax.random.key(1), 0.3, (23, 7)))
    signs = (-1.0) ** np.cumsum(flips, axis=0)
    np.testing.assert_allclose(test.resamples, np.einsum("ib,ij,jb->b", signs, u, signs) / 23**2, rtol=1e-9)


@pytest.mark.parametrize("kernel", ["gaussian", "imq"])
def test_the_stein_discrepancy_of_a_shifted_gaussian_is_known(kernel):
    """The scores differ by m everywhere, so that KSD² = m² E k(x, x'), x − x' ~ N(0, 2)."""
    m, h = 0.7, 1.3
    x = jax.random.normal(jax.random.key(0), (3000, 1))
    found = diagnostics.stein_discrepancy(x, -(x - m), kernel=kernel, bandwidth=h)
    gap = np.linspace(-20, 20, 20_001)
    profile = {"gaussian": np.exp(-(gap**2) / (2 * h**2)), "imq": (1 + gap**2 / h**2) ** -0.5}[kernel]
    truth = m**2 * np.trapezoid(profile * stats.norm.pdf(gap, 0, np.sqrt(2)), gap)
    assert abs(found.value - truth) < 4 * found.standard_error
    assert found.standard_error < 0.1 * truth


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_the_standard_error_of_the_stein_discrepancy_is_its_spread(shift):
    x = jax.random.normal(jax.random.key(1), (300, 150, 2))
    found = jax.jit(jax.vmap(lambda x: diagnostics.stein_discrepancy(x, -(x - shift))))(x)
    ratio = np.mean(found.standard_error**2) ** 0.5 / np.std(found.value)
    # Where the laws agree the error is noisy, and correlated with the value.
    assert (0.85 < ratio < 1.5) if shift == 0 else (0.87 < ratio < 1.13)
    if shift == 0:  # unbiased
        assert abs(np.mean(found.value)) < 4 * np.std(found.value) / np.sqrt(300)


def test_the_stein_test_has_its_level_and_its_power():
    def p_value(key, shift):
        key_x, key_test = jax.random.split(key)
        x = jax.random.normal(key_x, (100, 2))
        return diagnostics.stein_test(key_test, x, -(x - shift), num_resamples=99).p_value

    keys = jax.random.split(jax.random.key(2), 300)
    rejected = {shift: np.mean(jax.jit(jax.vmap(p_value, (0, None)))(keys, shift) <= 0.1) for shift in (0.0, 0.5)}
    assert abs(rejected[0.0] - 0.1) < 4 * np.sqrt(0.09 / 300)
    assert rejected[0.5] > 0.9


def test_the_stein_test_of_correlated_draws_needs_signs_that_flip_seldom():
    def p_value(key, flip_probability):
        key_x, key_test = jax.random.split(key)
        z = jax.random.normal(key_x, (300, 1))
        step = lambda x, z: (0.9 * x + np.sqrt(0.19) * z,) * 2
        x = jax.lax.scan(step, z[0], z)[1]
        found = diagnostics.stein_test(key_test, x, -x, num_resamples=99, flip_probability=flip_probability)
        return found.p_value

    keys = jax.random.split(jax.random.key(3), 100)
    rejected = [np.mean(jax.jit(jax.vmap(lambda k, f=f: p_value(k, f)))(keys) <= 0.05) for f in (0.5, 0.03)]
    assert rejected[0] > 0.3
    assert rejected[1] < 0.5 * rejected[0]


def test_the_mean_discrepancy_is_its_definition():
    x, y = np.random.default_rng(0).normal(size=(13, 3)), np.random.default_rng(1).normal(size=(17, 3)) + 0.3
    k = lambda a, b: np.exp(-np.sum((a - b) ** 2) / (2 * 1.5**2))
    xx = np.mean([k(a, b) for a, b in itertools.permutations(x, 2)])
    yy = np.mean([k(a, b) for a, b in itertools.permutations(y, 2)])
    xy = np.mean([k(a, b) for a, b in itertools.product(x, y)])
    found = diagnostics.maximum_mean_discrepancy(dm.kernels.gaussian(bandwidth=1.5), x, y, tile=4)
    np.testing.assert_allclose(found.value, xx + yy - 2 * xy, rtol=1e-10)


@pytest.mark.parametrize("shift", [0.0, 0.6])
def test_the_mean_discrepancy_of_gaussians_is_known_and_its_error_is_its_spread(shift):
    h = 0.9
    keys = jax.random.split(jax.random.key(4), 300)

    def repeat(key):
        key_x, key_y = jax.random.split(key)
        x, y = jax.random.normal(key_x, (120, 1)), shift + jax.random.normal(key_y, (200, 1))
        return diagnostics.maximum_mean_discrepancy(dm.kernels.gaussian(bandwidth=h), x, y)

    found = jax.jit(jax.vmap(repeat))(keys)
    truth = 2 * h / np.sqrt(h**2 + 2) * (1 - np.exp(-(shift**2) / (2 * (h**2 + 2))))
    spread = np.std(found.value)
    assert abs(np.mean(found.value) - truth) < 4 * spread / np.sqrt(300)
    ratio = np.mean(found.standard_error**2) ** 0.5 / spread
    assert (0.85 < ratio < 1.5) if shift == 0 else (0.87 < ratio < 1.13)


def test_the_median_distance_is_the_median_of_all_pairs():
    x = np.random.default_rng(0).normal(size=(41, 3))
    expected = np.median([np.linalg.norm(a - b) for a, b in itertools.combinations(x, 2)])
    np.testing.assert_allclose(diagnostics.median_distance(x), expected, rtol=1e-10)
    np.testing.assert_allclose(diagnostics.median_distance(x[:20], x[20:]), expected, rtol=1e-10)


@pytest.mark.parametrize(("num_x", "num_y"), [(40, 40), (30, 45), (7, 11)])
@pytest.mark.parametrize("order", [1, 2])
def test_transport_on_a_line_is_that_of_the_quantile_functions(num_x, num_y, order):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(num_x, 1)), rng.exponential(size=(num_y, 1))
    found = diagnostics.sliced_wasserstein(jax.random.key(0), x, y, num_projections=2, order=order)
    repeated = np.sort(np.repeat(x[:, 0], num_y)) - np.sort(np.repeat(y[:, 0], num_x))
    np.testing.assert_allclose(found.value, np.mean(np.abs(repeated) ** order) ** (1 / order), rtol=1e-10)
    if order == 1:
        np.testing.assert_allclose(found.value, stats.wasserstein_distance(x[:, 0], y[:, 0]), rtol=1e-10)


def test_the_sliced_distance_of_a_shift_is_its_length_over_the_root_of_the_dimension():
    x = np.random.default_rng(0).normal(size=(50, 4))
    shift = np.array([3.0, 0.0, -4.0, 0.0])
    found = diagnostics.sliced_wasserstein(jax.random.key(0), x, x + shift, num_projections=2000)
    assert abs(found.value - 5 / 2) < 4 * found.standard_error
    # (θ·m)² has the relative variance 2(d − 1)/(d + 2) on the sphere; its root has half the relative error.
    np.testing.assert_allclose(found.standard_error, 2.5 * 0.5 * np.sqrt(1.0 / 2000), rtol=0.1)


def test_the_distance_of_a_set_to_itself_is_zero():
    x = np.random.default_rng(0).normal(size=(50, 4))
    assert diagnostics.sliced_wasserstein(jax.random.key(0), x, x[::-1]) == (0.0, 0.0)
