import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

METHODS = ["slq", "kpm"]
PROBES = 30


pytestmark = pytest.mark.usefixtures("float64")


def rotated(eigenvalues, seed=0):
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(len(eigenvalues), len(eigenvalues))))[0]
    return (q * eigenvalues) @ q.T


def bulk_and_outliers(n=32):
    rng = np.random.default_rng(1)
    return np.concatenate([rng.normal(size=n - 3) * 0.3, [1.5, 2.5, 4.0]])


def convolved(positions, grid, bandwidth, weights=None):
    """Σ wᵢ N(x; xᵢ, σ²) at the grid; equal weights by default."""
    heights = np.exp(-(np.subtract.outer(np.asarray(grid), positions) ** 2) / (2 * bandwidth**2))
    weights = np.full(len(positions), 1 / len(positions)) if weights is None else weights
    return heights @ weights / (bandwidth * np.sqrt(2 * np.pi))


def density(eigenvalues, **options):
    """Of 16 eigenvalues in a random basis; one program for all tests that use no other options."""
    op = dm.linalg.from_matrix(rotated(eigenvalues))
    return dm.linalg.spectral_density(jax.random.key(0), op, num_probes=6, num_steps=16, **options)


def probes(method):
    """The probes [6, 16] of `density`, of length one."""
    key = jax.random.key(0) if method == "slq" else jax.random.split(jax.random.key(0))[1]
    keys = [jax.random.fold_in(key, i) for i in range(6)]
    keys = [jax.random.split(k)[0] for k in keys] if method == "slq" else keys
    return np.stack([jax.random.rademacher(k, (16,), float) for k in keys]) / 4


def repeated(op, num_repetitions, grid, **options):
    def one(key):
        return dm.linalg.spectral_density(key, op, num_probes=PROBES, grid=grid, block=PROBES, **options)

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), num_repetitions))


@pytest.mark.parametrize("method", METHODS)
def test_t_bands_cover_the_spectrum_convolved_with_the_bandwidth(method):
    eigenvalues, bandwidth = bulk_and_outliers(), 0.4
    grid = np.linspace(-2.0, 5.0, 40)
    truth = convolved(eigenvalues, grid, bandwidth)
    seen = truth > 0.01 * truth.max()
    op = dm.linalg.from_matrix(rotated(eigenvalues))
    num_steps = 14 if method == "slq" else 30
    found = repeated(op, 200, grid, method=method, num_steps=num_steps, bandwidth=bandwidth)
    covered = (found.low <= truth) & (truth <= found.high)
    assert 0.88 <= covered[:, seen].mean() <= 0.99
    # Unbiased: what is left is the error of 200 repetitions.
    left = abs(found.mean.mean(0) - truth)[seen] / (found.mean.std(0)[seen] / np.sqrt(200))
    assert np.sqrt(np.mean(left**2)) < 2
    assert found.biased[:, seen].mean() < 0.2


def test_on_a_log_scale_t_bands_cover_the_density_of_logarithms():
    eigenvalues, bandwidth = np.logspace(-1, 1, 32), 0.25
    grid = np.linspace(-1.5, 1.5, 40)
    truth = convolved(np.log10(eigenvalues), grid, bandwidth)
    seen = truth > 0.01 * truth.max()
    op = dm.linalg.from_matrix(rotated(eigenvalues))
    found = repeated(op, 100, grid, scale="log", num_steps=20, bandwidth=bandwidth)
    covered = (found.low <= truth) & (truth <= found.high)
    assert 0.88 <= covered[:, seen].mean() <= 0.99


@pytest.mark.parametrize(("scale", "num_steps", "bandwidth"), [("linear", 8, 0.05), ("log", 12, 0.1)])
def test_the_bias_of_too_few_steps_is_estimated_and_flagged(scale, num_steps, bandwidth):
    eigenvalues = np.linspace(-1.0, 1.0, 40)
    positions = eigenvalues if scale == "linear" else np.log10(abs(eigenvalues))
    grid = np.linspace(positions.min(), positions.max(), 50)
    truth = convolved(positions, grid, bandwidth)
    op = dm.linalg.from_matrix(rotated(eigenvalues))
    found = repeated(op, 60, grid, scale=scale, num_steps=num_steps, bandwidth=bandwidth)

    def size(values):
        return float(np.sqrt(np.mean(np.square(values))))

    true_bias, standard_error = size(found.mean.mean(0) - truth), size(found.standard_error)
    if true_bias > standard_error / 2:
        assert found.biased.mean() > 0.5
    assert 0.5 * true_bias < size(found.bias) < 4 * max(true_bias, standard_error)


RANK_3 = 10.0 * (np.arange(16) < 3)
TWO_SIGNS = np.concatenate([-np.logspace(-2, 0, 6), np.logspace(-3, 1, 10)])


@pytest.mark.parametrize(("scale", "eigenvalues"), [("linear", TWO_SIGNS), ("linear", RANK_3), ("log", TWO_SIGNS)])
def test_with_all_steps_each_probe_has_its_exact_spectral_measure(scale, eigenvalues):
    found = density(eigenvalues, scale=scale, bandwidth=0.2)
    values, vectors = np.linalg.eigh(rotated(eigenvalues))
    positions = values if scale == "linear" else np.log10(abs(values))
    densities = [convolved(positions, found.grid, 0.2, w) for w in (probes("slq") @ vectors) ** 2]
    np.testing.assert_allclose(found.mean, np.mean(densities, 0), atol=1e-9)
    np.testing.assert_allclose(found.standard_error, np.std(densities, 0, ddof=1) / np.sqrt(6), atol=1e-9)
    np.testing.assert_allclose(found.high - found.low, 2 * 2.5705818 * found.standard_error, rtol=1e-6)  # t₅
    np.testing.assert_allclose(found.nodes.max(1), eigenvalues.max(), rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_moments_are_those_of_the_probes(method):
    eigenvalues = bulk_and_outliers(16)
    matrix, z = rotated(eigenvalues), probes(method)
    found = density(eigenvalues, method=method)
    powers = np.stack([np.einsum("mi,ij,mj->m", z, np.linalg.matrix_power(matrix, p), z) for p in range(5)], 1)
    np.testing.assert_allclose(found.moments.value, powers.mean(0), rtol=1e-9)
    np.testing.assert_allclose(found.moments.standard_error, powers.std(0, ddof=1) / np.sqrt(6), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_the_density_integrates_to_one(method):
    found = density(bulk_and_outliers(16), method=method)
    np.testing.assert_allclose(np.trapezoid(found.mean, found.grid), 1.0, atol=1e-3)
    np.testing.assert_allclose(found.weights.sum(1), 1.0, rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", METHODS)
def test_the_identity_has_one_peak_and_no_error(method, dtype):
    op = dm.linalg.from_matrix(jnp.eye(40, dtype=dtype))
    found = dm.linalg.spectral_density(
        jax.random.key(0), op, num_probes=3, num_steps=20, method=method, bandwidth=0.1, grid=np.linspace(0, 2, 41)
    )
    tolerance = {"float32": 1e-3, "float64": 1e-7}[dtype]
    np.testing.assert_allclose(found.mean, convolved([1.0], found.grid, 0.1), atol=tolerance)
    assert found.standard_error.max() < tolerance
    assert method == "kpm" or not found.biased.any()
    assert found.num_breakdowns > 0
    assert found.mean.dtype == dtype


@pytest.mark.parametrize("method", METHODS)
def test_the_zero_operator_has_all_its_mass_at_zero(method):
    found = density(np.zeros(16), method=method)
    np.testing.assert_allclose((found.weights * found.nodes).sum(1), 0.0, atol=1e-12)
    np.testing.assert_allclose(found.moments.value, [1.0, 0, 0, 0, 0], atol=1e-12)
    assert jnp.isfinite(found.mean).all()
    assert abs(found.grid[jnp.argmax(found.mean)]) < found.bandwidth / 2


def test_the_fraction_of_negative_eigenvalues_is_within_its_interval():
    found = density(np.concatenate([np.linspace(-2, -1, 4), np.linspace(1, 4, 12)]))
    assert 0 < abs(found.negative.value - 0.25) < 4 * found.negative.standard_error


def test_on_a_log_scale_what_rounding_makes_of_zero_stands_at_the_floor():
    found = density(np.repeat([0.0, 1.0], 8), scale="log", bandwidth=0.2)
    low = found.grid < -8
    share = (found.weights * (abs(found.nodes) <= found.floor)).sum(1).mean()
    np.testing.assert_allclose(np.trapezoid(found.mean[low], found.grid[low]), share, atol=1e-3)
    np.testing.assert_allclose(found.grid[jnp.argmax(found.mean * low)], np.log10(found.floor), atol=0.05)


def test_the_jackson_kernel_is_positive_and_has_the_stated_width():
    from dlmath.linalg._chebyshev import chebyshev_measure, jackson, jackson_width

    num_moments = 41
    for point in (-0.6, 0.0, 0.3):
        moments = np.cos(np.arange(num_moments) * np.arccos(point))[None]
        x, weights = chebyshev_measure(jnp.asarray(moments), jackson(num_moments), 200)
        assert weights.min() > -1e-12
        np.testing.assert_allclose(weights[0].sum(), 1.0, rtol=1e-12)
        variance = (weights[0] * (x - point) ** 2).sum()
        np.testing.assert_allclose(np.sqrt(variance), jackson_width(point, num_moments), rtol=0.03)


def test_blocks_of_probes_change_nothing():
    one, four = (density(bulk_and_outliers(16), block=block) for block in (1, 4))
    np.testing.assert_allclose(one.mean, four.mean, atol=1e-9)


def test_a_second_operator_compiles_nothing():
    calls = []

    def scaled(factor, vector):
        calls.append(factor)
        return factor * vector

    traces = []
    for factor in (1.0, 2.0):
        op = dm.linalg.operator(scaled, jnp.zeros(7), factor * jnp.arange(7.0))
        calls.clear()
        dm.linalg.spectral_density(jax.random.key(0), op, num_probes=2, num_steps=3)
        traces.append(len(calls))
    assert traces[0] > 0
    assert traces[1] == 0


@pytest.mark.parametrize("method", METHODS)
def test_nan_is_an_error_that_names_the_step_and_nan_under_jit(method):
    op, key = dm.linalg.from_matrix(np.full([16, 16], np.nan)), jax.random.key(0)
    find = lambda op: dm.linalg.spectral_density(key, op, num_probes=6, num_steps=16, method=method)
    with pytest.raises(ValueError, match=r"op must have finite products.*step 0"):
        find(op)
    assert jnp.isnan(jax.jit(find)(op).mean).all()
