import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

METHODS = ["hutchinson", "hutch++", "xtrace"]
PROBES = ["rademacher", "gaussian"]


pytestmark = pytest.mark.usefixtures("float64")


def rotated(eigenvalues, seed=0):
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(len(eigenvalues), len(eigenvalues))))[0]
    return (q * eigenvalues) @ q.T


def flat_spectrum(n=30):
    return rotated(np.linspace(0.5, 2.0, n))


def decaying_spectrum(n=60):
    return rotated(np.arange(1, n + 1.0) ** -1.5)


def repeated(function, num_repetitions, seed=0):
    """An estimate [num_repetitions], one key each."""
    return jax.jit(jax.vmap(function))(jax.random.split(jax.random.key(seed), num_repetitions))


def share_covered(found, truth, degrees_of_freedom):
    low, high = dm.linalg.interval(found, degrees_of_freedom)
    return float(((low <= truth) & (truth <= high)).mean())


@pytest.mark.parametrize("probes", PROBES)
@pytest.mark.parametrize("method", METHODS)
def test_the_trace_is_unbiased(method, probes):
    matrix = decaying_spectrum()
    op = dm.linalg.from_matrix(matrix)
    found = repeated(lambda key: dm.linalg.trace(key, op, num_matvecs=24, method=method, probes=probes), 2000).value
    standard_error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - np.trace(matrix)) < 4 * standard_error


@pytest.mark.parametrize("probes", PROBES)
def test_hutchinsons_variance_is_as_predicted(probes):
    matrix = rotated(np.linspace(-1.0, 3.0, 20))
    diagonal = np.square(np.diag(matrix)).sum() if probes == "rademacher" else 0.0
    predicted = 2 * (np.square(matrix).sum() - diagonal)
    found = repeated(
        lambda key: dm.linalg.trace(key, dm.linalg.from_matrix(matrix), num_matvecs=4, probes=probes), 10_000
    )
    # A sample variance of m nearly normal values has relative standard error √(2/m); four of them.
    np.testing.assert_allclose(4 * found.value.var(), predicted, rtol=4 * np.sqrt(2 / 10_000))
    np.testing.assert_allclose(4 * (found.standard_error**2).mean(), predicted, rtol=4 * np.sqrt(2 / 10_000))


@pytest.mark.parametrize("method", ["hutchinson", "hutch++"])
def test_t_intervals_cover_the_trace(method):
    matrix = flat_spectrum()
    op, num_matvecs = dm.linalg.from_matrix(matrix), 30
    found = repeated(lambda key: dm.linalg.trace(key, op, num_matvecs=num_matvecs, method=method), 500)
    assert (found.standard_error > 0).all()
    degrees = {"hutchinson": num_matvecs - 1, "hutch++": num_matvecs - 2 * (num_matvecs // 3) - 1}[method]
    assert 0.90 <= share_covered(found, np.trace(matrix), degrees) <= 0.99


@pytest.mark.parametrize("probes", PROBES)
def test_intervals_of_xtrace_cover_somewhat_less_than_they_say(probes):
    # As its docstring states: the leave-one-out terms depend on each other.
    matrix = decaying_spectrum()
    op = dm.linalg.from_matrix(matrix)
    found = repeated(lambda key: dm.linalg.trace(key, op, num_matvecs=30, method="xtrace", probes=probes), 500)
    assert 0.80 <= share_covered(found, np.trace(matrix), 14) <= 0.95


def test_on_a_decaying_spectrum_hutch_plus_plus_beats_hutchinson_and_xtrace_beats_both():
    op = dm.linalg.from_matrix(decaying_spectrum())
    spread = [
        float(repeated(lambda key, m=m: dm.linalg.trace(key, op, num_matvecs=30, method=m), 300).value.std())
        for m in METHODS
    ]
    assert spread[0] > 2 * spread[1] > 2 * spread[2]


@pytest.mark.parametrize("probes", PROBES)
def test_xtrace_is_the_mean_of_its_leave_one_out_estimates(probes):
    matrix, key = decaying_spectrum(12), jax.random.key(3)
    n, k = 12, 5
    found = dm.linalg.trace(key, dm.linalg.from_matrix(matrix), num_matvecs=2 * k, method="xtrace", probes=probes)
    draw = jax.random.rademacher if probes == "rademacher" else jax.random.normal
    z = np.stack([draw(jax.random.fold_in(key, i), (n,), float) for i in range(k)], axis=1)
    terms = []
    for i in range(k):
        q = np.linalg.qr(matrix @ np.delete(z, i, axis=1))[0]
        x = z[:, i] - q @ (q.T @ z[:, i])
        scale = (n - k + 1) / (x @ x) if probes == "gaussian" else 1.0
        terms.append(np.trace(q.T @ matrix @ q) + scale * (x @ matrix @ x))
    np.testing.assert_allclose(found.value, np.mean(terms), rtol=1e-10)
    np.testing.assert_allclose(found.standard_error, np.std(terms, ddof=1) / np.sqrt(k), rtol=1e-8)


@pytest.mark.parametrize("method", ["hutch++", "xtrace"])
def test_an_operator_of_low_rank_has_its_exact_trace(method):
    matrix = 10 * rotated(np.arange(30) < 3)
    found = dm.linalg.trace(jax.random.key(0), dm.linalg.from_matrix(matrix), num_matvecs=24, method=method)
    np.testing.assert_allclose(found.value, 30.0, rtol=1e-12)
    assert found.standard_error < 1e-10


@pytest.mark.parametrize("method", METHODS)
def test_the_zero_operator_has_trace_zero(method):
    op = dm.linalg.from_matrix(np.zeros([9, 9]))
    found = dm.linalg.trace(jax.random.key(0), op, num_matvecs=8, method=method)
    assert found == (0.0, 0.0)


@pytest.mark.parametrize("method", METHODS)
def test_an_operator_on_one_number_is_its_trace(method):
    op = dm.linalg.from_matrix(np.full([1, 1], -3.0))
    found = dm.linalg.trace(jax.random.key(0), op, num_matvecs=4, method=method)
    np.testing.assert_allclose(found, (-3.0, 0.0), atol=1e-14)


def test_random_signs_give_the_trace_of_a_diagonal_matrix_without_variance():
    op = dm.linalg.from_matrix(np.diag(np.arange(9.0)))
    found = dm.linalg.trace(jax.random.key(0), op, num_matvecs=2)
    assert found == (36.0, 0.0)


def test_the_frobenius_norm_is_within_its_interval_and_unbiased_in_square():
    matrix = rotated(np.linspace(-1.0, 3.0, 20))
    op, truth = dm.linalg.from_matrix(matrix), np.linalg.norm(matrix)
    found = repeated(lambda key: dm.linalg.frobenius_norm(key, op, num_probes=20), 500)
    squares = found.value**2
    assert abs(squares.mean() - truth**2) < 4 * squares.std() / np.sqrt(500)
    assert 0.90 <= share_covered(found, truth, 19) <= 0.99


def test_the_frobenius_norm_of_zero_is_zero_without_error():
    found = dm.linalg.frobenius_norm(jax.random.key(0), dm.linalg.from_matrix(np.zeros([4, 4])), num_probes=3)
    assert found == (0.0, 0.0)


@pytest.mark.parametrize("method", METHODS)
def test_blocks_of_products_change_nothing(method):
    op = dm.linalg.from_matrix(flat_spectrum())
    one, seven = (
        dm.linalg.trace(jax.random.key(0), op, num_matvecs=20, method=method, block=block) for block in (1, 7)
    )
    np.testing.assert_allclose(one, seven, rtol=1e-10)


def test_more_probes_extend_the_first_ones():
    op, key = dm.linalg.from_matrix(flat_spectrum()), jax.random.key(0)
    z = np.stack([jax.random.rademacher(jax.random.fold_in(key, i), (30,), float) for i in range(10)])
    samples = np.einsum("mi,ij,mj->m", z, flat_spectrum(), z)
    for m in (4, 10):
        found = dm.linalg.trace(key, op, num_matvecs=m)
        np.testing.assert_allclose(found.value, samples[:m].mean(), rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_second_operator_compiles_nothing(method):
    like = {"a": jnp.zeros([2, 3]), "b": jnp.zeros(5)}
    calls = []

    def scaled(factor, vector):
        calls.append(factor)
        return jax.tree.map(lambda leaf: factor * leaf, vector)

    traces = []
    for factor in (1.0, 2.0, 3.0):
        op = dm.linalg.operator(scaled, like, jnp.asarray(factor))
        calls.clear()  # `operator` checks shapes by one abstract call
        found = dm.linalg.trace(jax.random.key(0), op, num_matvecs=12, method=method)
        traces.append(len(calls))
        assert abs(found.value - 11 * factor) <= 5 * found.standard_error
    assert traces[0] > 0
    assert traces[1:] == [0, 0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("x64", [False, True])
def test_estimates_have_the_precision_of_the_operator(method, x64):
    with jax.enable_x64(x64):
        dtype = jnp.float64 if x64 else jnp.float32
        op = dm.linalg.from_matrix(jnp.asarray(decaying_spectrum(), dtype))
        found = dm.linalg.trace(jax.random.key(0), op, num_matvecs=30, method=method)
        assert found.value.dtype == found.standard_error.dtype == dtype
        assert abs(found.value - np.trace(decaying_spectrum())) < 5 * found.standard_error


def test_the_t_interval_has_the_quantile_of_the_tables():
    estimate = dm.typing.Estimate(jnp.zeros(2), jnp.array([1.0, 2.0]))
    low, high = dm.linalg.interval(estimate, 9)
    np.testing.assert_allclose(high, [2.262157, 4.524314], rtol=1e-6)
    np.testing.assert_allclose(low, -high)


def test_estimates_of_pytrees_have_intervals_of_pytrees():
    estimate = dm.typing.Estimate({"a": jnp.ones(2)}, {"a": jnp.ones(2)})
    low, _ = dm.linalg.interval(estimate, 1, level=0.5)
    np.testing.assert_allclose(low["a"], [0.0, 0.0], atol=1e-12)  # the quartile of Cauchy's distribution is 1


def test_nan_in_a_product_is_an_error_that_names_the_operator():
    op = dm.linalg.from_matrix(np.full([3, 3], np.nan))
    with pytest.raises(ValueError, match=r"op must have finite products"):
        dm.linalg.trace(jax.random.key(0), op, num_matvecs=4)
