"""Extreme eigenpairs against prescribed spectra, SciPy and each other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import eigsh

import dlmath as dm

KEY = jax.random.key(0)
N, K = 120, 5
# Eigenvalues are to be right to this many roundings of the norm.
C = 100

SPECTRA = {
    "identity": np.ones(N),
    "zero": np.zeros(N),
    "rank-3 projector times 10": np.r_[10.0, 10.0, 10.0, np.zeros(N - 3)],
    "multiplicities": np.repeat([5.0, 3.0, 1.0, -2.0], N // 4),
    "log-spaced to 1e-12": np.logspace(0, -12, N),
    "negative definite": -np.linspace(1.0, 9.0, N),
    "two signs": np.r_[-8.0, 7.0, 6.0, -5.5, 5.0, np.linspace(-3.0, 3.0, N - 5)],
}


def symmetric(spectrum, seed=0):
    """A matrix with this spectrum in a random basis."""
    q = rotation(len(spectrum), seed)
    return (q * spectrum) @ q.T


@functools.cache
def rotation(n, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


def from_spectrum(spectrum, dtype="float32", seed=0):
    return dm.linalg.from_matrix(jnp.asarray(symmetric(spectrum, seed), dtype))


def best(spectrum, which, k=K):
    order = {"largest": -spectrum, "smallest": spectrum, "magnitude": -np.abs(spectrum)}[which]
    return spectrum[np.argsort(order, kind="stable")][:k]


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    with jax.enable_x64(request.param == "float64"):
        yield request.param


def assert_right(found, spectrum, which, dtype):
    norm = np.abs(spectrum).max()
    values = np.asarray(found.values, np.float64)
    np.testing.assert_allclose(values, best(spectrum, which, len(values)), atol=C * np.finfo(dtype).eps * norm, rtol=0)
    assert bool(found.converged.all())
    vectors = np.asarray(found.vectors, np.float64)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(len(vectors)), atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", SPECTRA)
def test_largest_values_are_right_to_c_roundings_of_the_norm(name, dtype):
    assert_right(dm.linalg.eigenpairs(KEY, from_spectrum(SPECTRA[name], dtype), K), SPECTRA[name], "largest", dtype)


@pytest.mark.parametrize("which", ["smallest", "magnitude"])
@pytest.mark.parametrize("name", ["rank-3 projector times 10", "negative definite", "two signs"])
def test_the_other_ends_of_the_spectrum_are_found(name, which):
    found = dm.linalg.eigenpairs(KEY, from_spectrum(SPECTRA[name]), K, which=which)
    assert_right(found, SPECTRA[name], which, "float32")


def test_an_operator_of_size_one_has_one_pair():
    found = dm.linalg.eigenpairs(KEY, dm.linalg.from_matrix(jnp.array([[3.0]])), 1)
    assert (float(found.values[0]), abs(float(found.vectors[0, 0])), float(found.residuals[0])) == (3.0, 1.0, 0.0)


def test_all_pairs_are_found_when_k_is_the_dimension():
    spectrum = np.array([4.0, 4.0, 1.0, 0.0, 0.0, -2.0])
    assert_right(dm.linalg.eigenpairs(KEY, from_spectrum(spectrum), 6), spectrum, "largest", "float32")


def test_residuals_are_those_of_the_returned_pairs():
    matrix = symmetric(SPECTRA["two signs"])
    found = dm.linalg.eigenpairs(KEY, from_spectrum(SPECTRA["two signs"]), K)
    vectors, values = np.asarray(found.vectors, np.float64), np.asarray(found.values, np.float64)
    residuals = np.linalg.norm(vectors @ matrix - values[:, None] * vectors, axis=1)
    np.testing.assert_allclose(found.residuals, residuals, atol=C * np.finfo("float32").eps * 8)


LONG = np.r_[10.0, 10.0, 10.0, 9.0, 9.0, np.random.default_rng(4).uniform(-3.0, 3.0, 295)]


def test_missed_copies_of_multiple_eigenvalues_are_found(dtype):
    assert_right(dm.linalg.eigenpairs(KEY, from_spectrum(LONG, dtype), K), LONG, "largest", dtype)


def test_without_the_search_copies_are_missed():
    with jax.enable_x64(True):
        found = dm.linalg.eigenpairs(KEY, from_spectrum(LONG, "float64"), 2, search_copies=False)
        np.testing.assert_allclose(found.values, [10.0, 9.0], rtol=1e-12)


def laplacian(potential, vector):
    """−u″ + Vu by differences, zero beyond the ends."""
    padded = jnp.pad(vector, 1)
    return 2 * vector - padded[:-2] - padded[2:] + potential * vector


def test_agrees_with_scipy_on_a_larger_operator():
    n = 3000
    potential = 4 * np.random.default_rng(5).random(n) ** 4
    matrix = sp.diags_array([2 + potential, -np.ones(n - 1), -np.ones(n - 1)], offsets=[0, 1, -1])
    with jax.enable_x64(True):
        op = dm.linalg.operator(laplacian, jnp.zeros(n), jnp.asarray(potential))
        found = dm.linalg.eigenpairs(KEY, op, 4, tol=1e-9)
        assert bool(found.converged.all())
        np.testing.assert_allclose(found.values, eigsh(matrix, 4, which="LA")[0][::-1], rtol=1e-12)


def test_a_warm_start_needs_fewer_products():
    spectrum = np.r_[20.0, 15.0, 12.0, 9.0, 7.0, np.linspace(-3.0, 3.0, 295)]
    matrix = symmetric(spectrum)
    noise = symmetric(np.random.default_rng(6).standard_normal(300), seed=7)
    before = dm.linalg.eigenpairs(KEY, dm.linalg.from_matrix(jnp.asarray(matrix, jnp.float32)), 1, tol=1e-3)
    later = dm.linalg.from_matrix(jnp.asarray(matrix + 1e-3 * noise, jnp.float32))
    options = {"tol": 1e-3, "search_copies": False}
    cold = dm.linalg.eigenpairs(KEY, later, 1, **options)
    for start in (before, before.vectors, before.vectors[0]):
        warm = dm.linalg.eigenpairs(KEY, later, 1, v0=start, **options)
        assert int(warm.num_matvecs) <= 4 < int(cold.num_matvecs)
        np.testing.assert_allclose(warm.values, cold.values, rtol=1e-4)


def test_a_warm_start_by_several_vectors_needs_fewer_products():
    spectrum = np.r_[20.0, 15.0, 12.0, 9.0, 7.0, np.linspace(-3.0, 3.0, 295)]
    op = from_spectrum(spectrum)
    cold = dm.linalg.eigenpairs(KEY, op, K, search_copies=False)
    warm = dm.linalg.eigenpairs(KEY, jax.tree.map(lambda leaf: 1.01 * leaf, op), K, v0=cold, search_copies=False)
    assert int(warm.num_matvecs) <= 0.6 * int(cold.num_matvecs)  # the largest of ten matrices and keys
    np.testing.assert_allclose(warm.values, 1.01 * cold.values, rtol=1e-5)


def test_tolerances_can_be_relative_to_each_eigenvalue():
    spectrum = np.r_[1e3, 1.0, 0.9, np.linspace(0.0, 0.5, N - 3)]
    with jax.enable_x64(True):
        op = from_spectrum(spectrum, "float64")
        found = dm.linalg.eigenpairs(KEY, op, 3, tol=1e-4, relative_to="eigenvalue")
        assert bool((found.residuals <= 1e-4 * found.values).all())
        # Relative to the operator a residual of 0.1 would do.
        assert float(found.residuals[2]) < 1e-4


def test_pairs_that_did_not_converge_are_marked():
    found = dm.linalg.eigenpairs(KEY, from_spectrum(np.linspace(0.0, 1.0, 600)), 3, tol=1e-6, max_restarts=0)
    assert not found.converged.any()
    assert bool((found.residuals > 1e-6).all())


def test_noise_of_bfloat16_products_does_not_prevent_convergence():
    def rounded(matrix, vector):
        return (matrix.astype(jnp.bfloat16) @ vector.astype(jnp.bfloat16)).astype(vector.dtype)

    matrix = jnp.asarray(symmetric(SPECTRA["rank-3 projector times 10"]), jnp.float32)
    op = dm.linalg.operator(rounded, jnp.zeros(N), matrix, matvec_eps=2.0**-7)
    found = dm.linalg.eigenpairs(KEY, op, 3)
    assert bool(found.converged.all())
    np.testing.assert_allclose(found.values, 10.0, atol=10 * 2.0**-7 * 10)


@pytest.mark.parametrize("which", ["largest", "smallest", "magnitude"])
def test_lobpcg_finds_the_same_pairs(which):
    spectrum = np.r_[-20.0, 18.0, 18.0, -15.0, 12.0, -11.0, np.linspace(-2.0, 2.0, N - 6)]
    found = dm.linalg.eigenpairs(KEY, from_spectrum(spectrum), 3, which=which, method="lobpcg")
    np.testing.assert_allclose(found.values, best(spectrum, which, 3), rtol=1e-5)
    assert bool(found.converged.all())


def pytree_product(c, vector):
    return {"a": c * vector["a"], "b": 2 * c * vector["b"]}


def test_vectors_have_the_structure_of_the_space():
    like = {"a": jnp.zeros((2, 3)), "b": jnp.zeros(1)}
    found = dm.linalg.eigenpairs(KEY, dm.linalg.operator(pytree_product, like, jnp.asarray(3.0)), 2)
    np.testing.assert_allclose(found.values, [6.0, 3.0], rtol=1e-6)
    assert found.vectors["a"].shape == (2, 2, 3)
    np.testing.assert_allclose(np.abs(found.vectors["b"]), [[1.0], [0.0]], atol=1e-6)


def test_vmap_over_operators_gives_what_a_loop_gives():
    matrices = jnp.stack([jnp.asarray(symmetric(np.linspace(1, c, 30)), jnp.float32) for c in (2, 3)])
    find = lambda matrix: dm.linalg.eigenpairs(KEY, dm.linalg.from_matrix(matrix), 2)
    together = jax.vmap(find)(matrices)
    np.testing.assert_allclose(together.values, [find(matrix).values for matrix in matrices], rtol=1e-5)
    assert bool(together.converged.all())


traces = []


def counted(matrix, vector):
    traces.append(1)
    return matrix @ vector


def test_a_second_operator_compiles_nothing():
    op = dm.linalg.operator(counted, jnp.zeros(N), jnp.asarray(symmetric(SPECTRA["two signs"]), jnp.float32))
    first = dm.linalg.eigenpairs(KEY, op, 2)
    before = len(traces)
    second = dm.linalg.eigenpairs(KEY, jax.tree.map(lambda leaf: 2 * leaf, op), 2, tol=1e-4)
    assert len(traces) == before
    np.testing.assert_allclose(second.values, 2 * first.values, rtol=1e-5)


@pytest.mark.parametrize("method", ["lanczos", "lobpcg"])
def test_lowers_for_cuda_and_tpu(method):
    find = lambda key, op: dm.linalg.eigenpairs(key, op, 2, method=method)
    lowered = jax.jit(find).trace(KEY, dm.linalg.from_matrix(jnp.eye(30))).lower(lowering_platforms=("cuda", "tpu"))
    assert "callback" not in lowered.as_text()


@pytest.mark.parametrize(("claimed", "num_matvecs"), [([3.0, 2.0, 1.0], 1), ([3.0, 2.0, 1.5], 4)])
def test_one_product_confirms_pairs_and_a_false_one_has_all_measured(claimed, num_matvecs):
    from dlmath.linalg._ritz import verified

    op, basis = from_spectrum(np.arange(4.0)), rotation(4, 0).T[:0:-1]
    claims = jnp.asarray(claimed, jnp.float32), jnp.zeros(3, jnp.float32)
    found = verified(KEY, op, jnp.asarray(basis, jnp.float32), *claims, jnp.asarray(True), 1e-5, 1e-5, "largest")
    np.testing.assert_allclose(found.values, [3.0, 2.0, 1.0], rtol=1e-5)
    assert found.residuals.max() < 1e-5
    assert found.num_matvecs == num_matvecs


@pytest.mark.parametrize(("wanted", "num_matvecs"), [(0.021, 1), (0.019, 4)])
def test_pairs_as_good_as_wanted_are_confirmed_with_the_residual_of_the_product_that_did(wanted, num_matvecs):
    from dlmath.linalg._ritz import verified

    op, basis = from_spectrum(np.arange(4.0)), rotation(4, 0).T[:0:-1]
    claims = jnp.array([3.0, 2.0, 1.01]), jnp.zeros(3)
    found = verified(KEY, op, jnp.asarray(basis, jnp.float32), *claims, jnp.asarray(True), 1e-5, wanted, "largest")
    assert found.num_matvecs == num_matvecs
    np.testing.assert_allclose(found.residuals, 0.01 if num_matvecs == 1 else 0.0, atol=1e-5)
