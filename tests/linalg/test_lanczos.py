"""Lanczos on operators whose Krylov space is exhausted, the normal case for curvature of low rank."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm
from dlmath.linalg._lanczos import _lanczos, krylov_step

KEY = jax.random.key(0)
N = 120
# Eigenvalues are to be right to this many roundings of the norm, more than the threshold of a breakdown, 64.
C = 100

SPECTRA = {
    "identity": np.ones(N),
    "zero": np.zeros(N),
    "rank-3 projector times 10": np.r_[10.0, 10.0, 10.0, np.zeros(N - 3)],
    "multiplicities": np.repeat([5.0, 3.0, 1.0, -2.0], N // 4),
    "log-spaced to 1e-12": np.logspace(0, -12, N),
    "negative definite": -np.linspace(1.0, 9.0, N),
    "size one": np.array([3.0]),
}


def symmetric(spectrum, seed=0):
    """A matrix with this spectrum in a random basis."""
    q = rotation(len(spectrum), seed)
    return (q * spectrum) @ q.T


@functools.cache
def rotation(n, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    with jax.enable_x64(request.param == "float64"):
        yield request.param


def run(matrix, dtype, num_steps, v0=None):
    return dm.linalg.lanczos(KEY, dm.linalg.from_matrix(jnp.asarray(matrix, dtype)), v0, num_steps)


def wide(result):
    """T and Q in float64."""
    with jax.enable_x64(True):
        return np.asarray(result.matrix, np.float64), np.asarray(result.basis, np.float64)


@pytest.mark.parametrize("name", SPECTRA)
def test_all_eigenvalues_are_found_after_n_steps_to_c_roundings_of_the_norm(name, dtype):
    spectrum = SPECTRA[name]
    matrix, _ = wide(run(symmetric(spectrum), dtype, N))
    error = np.abs(np.linalg.eigvalsh(matrix) - np.sort(spectrum)).max()
    assert error <= C * np.finfo(dtype).eps * np.abs(spectrum).max()


@pytest.mark.parametrize("name", SPECTRA)
def test_the_basis_is_orthonormal_to_20_roundings(name, dtype):
    _, basis = wide(run(symmetric(SPECTRA[name]), dtype, N))
    assert np.abs(basis @ basis.T - np.eye(len(basis))).max() <= 20 * np.finfo(dtype).eps


@pytest.mark.parametrize("num_steps", [50, N])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_defining_identity_holds(name, num_steps, dtype):
    result = run(symmetric(SPECTRA[name]), dtype, num_steps)
    tridiagonal, basis = wide(result)
    rest = np.outer(np.asarray(result.residual, np.float64), np.eye(len(basis))[-1])
    error = np.abs(symmetric(SPECTRA[name]) @ basis.T - basis.T @ tridiagonal - rest).max()
    assert error <= C * np.finfo(dtype).eps * np.abs(SPECTRA[name]).max()
    np.testing.assert_allclose(np.linalg.norm(result.residual), result.residual_norm, rtol=1e-5, atol=1e-30)


# An operator with d distinct eigenvalues, of multiplicities m1 ≥ m2 ≥ …, falls into m1 Krylov spaces.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("identity", N - 1),
        ("zero", N - 1),
        ("multiplicities", N // 4 - 1),
        ("rank-3 projector times 10", N - 4),
        ("negative definite", 0),
        ("size one", 0),
    ],
)
def test_breakdowns_are_counted(name, expected, dtype):
    # One coupling in a hundred may be just above the threshold.
    assert abs(int(run(symmetric(SPECTRA[name]), dtype, N).num_breakdowns) - expected) <= N // 100


def test_fewer_steps_than_the_dimension_give_no_value_outside_the_spectrum(dtype):
    for name, spectrum in SPECTRA.items():
        values = np.linalg.eigvalsh(wide(run(symmetric(spectrum), dtype, 50))[0])
        slack = C * np.finfo(dtype).eps * np.abs(spectrum).max()
        assert values.min() >= spectrum.min() - slack, name
        assert values.max() <= spectrum.max() + slack, name


def ggn(params, x, vector):
    """v ↦ JᵀSJv of a softmax network, S = diag(p) − ppᵀ at every point."""
    apply = lambda params: jnp.tanh(x @ params[0] + params[1]) @ params[2] + params[3]
    outputs, tangent = jax.jvp(apply, (params,), (vector,))
    p = jax.nn.softmax(outputs)
    return jax.vjp(apply, params)[1](p * tangent - p * jnp.sum(p * tangent, axis=1, keepdims=True))[0]


def network(dtype):
    rng = np.random.default_rng(1)
    shapes = [(12, 32), (32,), (32, 3), (3,)]
    params = [jnp.asarray(rng.standard_normal(shape) / shape[0] ** 0.5, dtype) for shape in shapes]
    return dm.linalg.operator(ggn, params, params, jnp.asarray(rng.standard_normal((20, 12)), dtype))


def test_a_ggn_of_rank_40_has_its_spectrum_after_100_steps(dtype):
    op = network(dtype)
    assert op.size == 515
    dense = np.asarray(dm.linalg.dense(op), np.float64)
    spectrum = np.linalg.eigvalsh((dense + dense.T) / 2)
    slack = C * np.finfo(dtype).eps * spectrum[-1]
    assert (spectrum > 1e3 * slack / C).sum() == 40  # N(C − 1)
    result = dm.linalg.lanczos(KEY, op, None, 100)
    matrix, basis = wide(result)
    values = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose(values[-40:], spectrum[-40:], rtol=0, atol=slack)
    np.testing.assert_allclose(values[:60], 0.0, atol=slack)
    assert int(result.num_breakdowns) >= 40
    assert np.abs(basis @ basis.T - np.eye(100)).max() <= 20 * np.finfo(dtype).eps


def test_gauss_quadrature_is_exact_to_degree_2k_minus_1_and_not_2k():
    with jax.enable_x64(True):
        k = 6
        rng = np.random.default_rng(2)
        matrix, v0 = symmetric(rng.uniform(-1, 1, N)), rng.standard_normal(N)
        tridiagonal, _ = wide(run(matrix, "float64", k, jnp.asarray(v0)))
        nodes, vectors = np.linalg.eigh(tridiagonal)
        moments, v = [], v0 / np.linalg.norm(v0)
        for degree in range(2 * k + 1):
            moments.append(v @ np.linalg.matrix_power(matrix, degree) @ v)
        gauss = np.array([np.sum(vectors[0] ** 2 * nodes**degree) for degree in range(2 * k + 1)])
        np.testing.assert_allclose(gauss[:-1], moments[:-1], rtol=0, atol=1e-14)
        assert abs(gauss[-1] - moments[-1]) > 1e-5


@pytest.mark.parametrize("factor", [1e-25, 1e25])
def test_squares_neither_overflow_nor_vanish_in_float32(factor):
    spectrum = factor * np.linspace(1.0, 9.0, N)
    matrix, _ = wide(run(symmetric(spectrum), "float32", N))
    np.testing.assert_allclose(np.linalg.eigvalsh(matrix), spectrum, rtol=C * 1.2e-7)


def test_a_start_of_zero_length_is_a_random_start():
    matrix = symmetric(SPECTRA["negative definite"])
    zero = run(matrix, "float32", 10, jnp.zeros(N))
    np.testing.assert_array_equal(zero.basis, run(matrix, "float32", 10).basis)
    assert int(zero.num_breakdowns) == 0


def test_the_first_basis_vector_is_the_start():
    v0 = jnp.arange(1.0, N + 1)
    basis = run(symmetric(SPECTRA["negative definite"]), "float32", 10, v0).basis
    np.testing.assert_allclose(basis[0], v0 / jnp.linalg.norm(v0), rtol=1e-6)


def rounded(matrix, vector):
    """A product whose operands and result are in bfloat16."""
    low = jnp.bfloat16
    return (matrix.astype(low) @ vector.astype(low)).astype(vector.dtype)


def test_noise_of_bfloat16_products_spoils_neither_eigenvalues_nor_basis_beyond_its_size():
    eps = 2.0**-7
    matrix = jnp.asarray(symmetric(SPECTRA["rank-3 projector times 10"]), jnp.float32)
    found = dm.linalg.lanczos(KEY, dm.linalg.operator(rounded, jnp.zeros(N), matrix, matvec_eps=eps), None, 40)
    tridiagonal, basis = wide(found)
    values = np.linalg.eigvalsh(tridiagonal)
    np.testing.assert_allclose(values[-3:], 10.0, atol=10 * eps * 10)
    np.testing.assert_allclose(values[:-3], 0.0, atol=10 * eps * 10)
    assert np.abs(basis @ basis.T - np.eye(40)).max() <= 20 * np.finfo(np.float32).eps


def shortened(matrix, vector):
    """A product in float32 whose result is rounded to eight binary digits."""
    return jax.lax.reduce_precision(matrix @ vector, exponent_bits=8, mantissa_bits=7)


def test_noise_as_large_as_stated_is_not_taken_for_directions():
    matrix = jnp.asarray(symmetric(SPECTRA["rank-3 projector times 10"]), jnp.float32)
    op = dm.linalg.operator(shortened, jnp.zeros(N), matrix, matvec_eps=2.0**-7)
    # All steps but those into the range, and the last.
    assert int(dm.linalg.lanczos(KEY, op, None, 40).num_breakdowns) == 40 - 3 - 1


def diagonal_tf32(entries, vector):
    """A diagonal matrix with products of ten binary digits, as in TF32."""
    return jax.lax.reduce_precision(entries * vector, exponent_bits=8, mantissa_bits=10)


def test_stated_noise_hides_no_eigenvalue_of_which_a_random_vector_has_little():
    # Once the other eight are found, a random vector goes on, whose image is about a hundredth of ‖A‖.
    entries = jnp.zeros(100_000).at[:9].set(jnp.linspace(70.0, 45.0, 9))
    op = dm.linalg.operator(diagonal_tf32, entries, entries, matvec_eps=2.0**-7)
    start = jax.random.normal(KEY, entries.shape).at[4].set(0.0)
    found = dm.linalg.lanczos(KEY, op, start, 16)
    np.testing.assert_allclose(np.linalg.eigvalsh(wide(found)[0])[-9:], entries[8::-1], rtol=1e-2)


def chain(limit, vector):
    """Hops along a line; not finite once the last site is reached."""
    hop = jnp.zeros_like(vector).at[1:].add(vector[:-1]).at[:-1].add(vector[1:])
    return jnp.where(jnp.abs(vector[-1]) > limit, jnp.nan, hop)


def test_a_product_that_is_not_finite_is_reported_with_its_step():
    op = dm.linalg.operator(chain, jnp.zeros(8), jnp.asarray(0.1))
    start = jnp.eye(8)[0]
    with pytest.raises(ValueError, match=r"NaN or infinity at step 7"):
        dm.linalg.lanczos(KEY, op, start, 8)
    flagged = jax.jit(lambda op: dm.linalg.lanczos(KEY, op, start, 8))(op)
    assert int(flagged.first_nan_step) == 7
    assert all(bool(jnp.isfinite(part).all()) for part in flagged)


def test_asymmetry_is_a_rounding_for_symmetric_matrices_and_large_for_others():
    matrix = symmetric(SPECTRA["negative definite"])
    assert run(matrix, "float32", 20).asymmetry < 1e-5
    lopsided = matrix + np.triu(np.random.default_rng(3).standard_normal((N, N)), 1)
    assert run(lopsided, "float32", 20).asymmetry > 1e-2


def test_vmap_over_starts_and_keys_gives_what_a_loop_gives():
    op = dm.linalg.from_matrix(jnp.asarray(symmetric(SPECTRA["multiplicities"]), jnp.float32))
    keys = jax.random.split(KEY, 3)
    starts = jax.random.normal(KEY, (3, N))
    together = jax.vmap(lambda key, v0: dm.linalg.lanczos(key, op, v0, 8))(keys, starts)
    for i in range(3):
        alone = dm.linalg.lanczos(keys[i], op, starts[i], 8)
        np.testing.assert_allclose(together.diagonal[i], alone.diagonal, atol=1e-5)
        np.testing.assert_allclose(together.off_diagonal[i], alone.off_diagonal, atol=1e-5)


def test_a_new_vector_is_orthogonal_where_its_image_is_almost_in_the_span_of_the_basis():
    # As after a thick restart: the last vector couples to all others, 10⁴ times as strongly as to anything new.
    rows = jnp.asarray(rotation(N, 0)[:, :11].T, jnp.float32)
    couplings = jnp.concatenate([jnp.ones(10), jnp.array([1e-4])])
    op = dm.linalg.operator(coupled, jnp.zeros(N), rows[9], couplings @ rows)
    step = krylov_step(KEY, op, (rows[:10],), 9, rows[9], jnp.float32(0.0), jnp.float32(0.0))
    assert float(step.coupling) == pytest.approx(1e-4, rel=1e-2)
    overlap = np.asarray(rows[:10], np.float64) @ np.asarray(step.vector, np.float64)
    assert np.abs(overlap).max() <= 20 * np.finfo(np.float32).eps


def coupled(last, image, vector):
    return jnp.vdot(last, vector) * image


@pytest.mark.parametrize("block", [1, 7, 30])
def test_a_basis_in_parts_gives_the_same_tridiagonal_matrix(block):
    op = dm.linalg.from_matrix(jnp.asarray(symmetric(SPECTRA["negative definite"]), jnp.float32))
    start = jnp.ones(N)
    whole, parts = _lanczos(KEY, op, start, 30), _lanczos(KEY, op, start, 30, block)
    np.testing.assert_allclose(parts.diagonal, whole.diagonal, atol=1e-4)
    np.testing.assert_allclose(parts.off_diagonal, whole.off_diagonal, atol=1e-4)
    gram = np.asarray(parts.basis, np.float64) @ np.asarray(parts.basis, np.float64).T
    assert np.abs(gram - np.eye(30)).max() <= 20 * np.finfo(np.float32).eps


traces = []


def counted(matrix, vector):
    traces.append(1)
    return matrix @ vector


def test_a_second_operator_compiles_nothing():
    matrix = jnp.asarray(symmetric(SPECTRA["negative definite"]), jnp.float32)
    op = dm.linalg.operator(counted, jnp.zeros(N), matrix)
    first = dm.linalg.lanczos(KEY, op, None, 5)
    before = len(traces)
    second = dm.linalg.lanczos(KEY, jax.tree.map(lambda leaf: 2 * leaf, op), None, 5)
    assert len(traces) == before
    np.testing.assert_allclose(second.diagonal, 2 * first.diagonal, rtol=1e-5)


def test_lowers_for_cuda_and_tpu():
    op = dm.linalg.from_matrix(jnp.eye(30))
    run = lambda key, op: dm.linalg.lanczos(key, op, jnp.ones(30), 5)
    lowered = jax.jit(run).trace(KEY, op).lower(lowering_platforms=("cuda", "tpu"))
    assert "callback" not in lowered.as_text()
