import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

METHODS = ["cg", "minres"]


pytestmark = pytest.mark.usefixtures("float64")


def rotated(eigenvalues, seed=0):
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(len(eigenvalues), len(eigenvalues))))[0]
    return (q * eigenvalues) @ q.T


def right_hand_side(n):
    return np.random.default_rng(7).normal(size=n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", METHODS)
def test_positive_definite_systems_have_numpys_solution(method, dtype):
    matrix, b = rotated(np.linspace(0.5, 20, 30)), right_hand_side(30)
    tol = {"float32": 1e-5, "float64": 1e-12}[dtype]
    found = dm.linalg.solve(dm.linalg.from_matrix(matrix.astype(dtype)), b.astype(dtype), method=method, tol=tol)
    np.testing.assert_allclose(found.x, np.linalg.solve(matrix, b), atol=100 * tol)
    assert found.converged
    assert found.x.dtype == found.residual_norm.dtype == dtype
    assert found.residual_norm <= tol * np.linalg.norm(b.astype(dtype)) * (1 + 1e-6)
    np.testing.assert_allclose(found.residual_norm, np.linalg.norm(b - matrix @ found.x), atol=10 * tol)


def test_minres_solves_indefinite_systems():
    matrix, b = rotated(np.concatenate([np.linspace(-5, -1, 10), np.linspace(1, 9, 20)])), right_hand_side(30)
    found = dm.linalg.solve(dm.linalg.from_matrix(matrix), b, method="minres", tol=1e-10)
    np.testing.assert_allclose(found.x, np.linalg.solve(matrix, b), atol=1e-8)
    assert found.converged
    assert not found.indefinite


def test_cg_stops_at_negative_curvature_and_says_so():
    matrix, b = rotated(np.linspace(-5, 5, 30)), right_hand_side(30)
    found = dm.linalg.solve(dm.linalg.from_matrix(matrix), b)
    assert found.indefinite
    assert not found.converged
    assert jnp.isfinite(found.x).all()
    np.testing.assert_allclose(found.residual_norm, np.linalg.norm(b - matrix @ found.x), rtol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_as_many_steps_as_distinct_eigenvalues_suffice(method):
    matrix, b = rotated(np.repeat([1.0, 2.0, 7.0], 8)), right_hand_side(24)
    assert dm.linalg.solve(dm.linalg.from_matrix(matrix), b, method=method, tol=1e-10).num_steps == 3


@pytest.mark.parametrize("method", METHODS)
def test_with_the_inverse_as_preconditioner_one_step_suffices(method):
    matrix, b = rotated(np.logspace(-3, 2, 20)), right_hand_side(20)
    inverse = dm.linalg.from_matrix(np.linalg.inv(matrix))
    found = dm.linalg.solve(dm.linalg.from_matrix(matrix), b, method=method, preconditioner=inverse, tol=1e-8)
    assert found.converged
    assert found.num_steps <= 2


@pytest.mark.parametrize("method", METHODS)
def test_a_diagonal_preconditioner_saves_steps_on_a_badly_scaled_system(method):
    scales = np.logspace(-2, 2, 40)
    matrix = np.diag(scales) @ rotated(np.linspace(1, 3, 40)) @ np.diag(scales)
    b, op = scales * right_hand_side(40), dm.linalg.from_matrix(matrix)
    plain = dm.linalg.solve(op, b, method=method, tol=1e-8)
    preconditioner = dm.linalg.from_matrix(np.diag(1 / np.diag(matrix)))
    better = dm.linalg.solve(op, b, method=method, tol=1e-8, preconditioner=preconditioner)
    assert better.converged
    assert better.num_steps < plain.num_steps / 2


def test_cg_decreases_the_energy_error_at_least_at_the_rate_of_the_condition_number():
    eigenvalues = np.linspace(1.0, 25.0, 80)
    matrix, b = rotated(eigenvalues), right_hand_side(80)
    exact = np.linalg.solve(matrix, b)
    for k in (2, 5, 10):
        error = dm.linalg.solve(dm.linalg.from_matrix(matrix), b, max_steps=k, tol=1e-12).x - exact
        bound = 2 * ((5 - 1) / (5 + 1)) ** k * np.sqrt(exact @ matrix @ exact)
        assert np.sqrt(error @ matrix @ error) <= bound


def test_minres_has_the_smallest_residual_of_the_krylov_space():
    matrix, b = rotated(np.linspace(-2.0, 3.0, 20)), right_hand_side(20)
    for k in (1, 3, 6):
        krylov = np.stack([np.linalg.matrix_power(matrix, j) @ b for j in range(k)], 1)
        best = np.linalg.norm(b - matrix @ krylov @ np.linalg.lstsq(matrix @ krylov, b, rcond=None)[0])
        found = dm.linalg.solve(dm.linalg.from_matrix(matrix), b, method="minres", max_steps=k, tol=1e-12)
        np.testing.assert_allclose(found.residual_norm, best, rtol=1e-8)
        assert found.num_steps == k


@pytest.mark.parametrize("method", METHODS)
def test_the_history_is_that_of_the_residuals(method):
    matrix, b = rotated(np.linspace(1.0, 5.0, 20)), right_hand_side(20)
    op = dm.linalg.from_matrix(matrix)
    history = dm.linalg.solve(op, b, method=method, tol=1e-6).history
    steps = int(np.isfinite(history).sum()) - 1
    for k in (1, 2, 4):
        found = dm.linalg.solve(op, b, method=method, tol=1e-6, max_steps=k)
        np.testing.assert_allclose(history[k], found.residual_norm, rtol=1e-8)
    np.testing.assert_allclose(history[0], np.linalg.norm(b))
    assert np.isnan(history[steps + 1 :]).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_zero_right_hand_side_has_solution_zero(method):
    found = dm.linalg.solve(dm.linalg.from_matrix(np.eye(4)), np.zeros(4), method=method)
    np.testing.assert_array_equal(found.x, np.zeros(4))
    assert found.converged
    assert found.num_steps == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_good_first_guess_saves_steps(method):
    matrix, b = rotated(np.linspace(1.0, 50.0, 40)), right_hand_side(40)
    op, x0 = dm.linalg.from_matrix(matrix), np.linalg.solve(matrix, b) + 1e-4
    cold = dm.linalg.solve(op, b, method=method, tol=1e-5)
    warm = dm.linalg.solve(op, b, method=method, tol=1e-5, x0=x0)
    assert warm.converged
    assert warm.num_steps < cold.num_steps / 2


@pytest.mark.parametrize("method", METHODS)
def test_singular_systems_with_a_solution_are_solved(method):
    matrix = rotated(np.concatenate([np.zeros(10), np.linspace(1, 3, 10)]))
    b = matrix @ right_hand_side(20)
    found = dm.linalg.solve(dm.linalg.from_matrix(matrix), b, method=method, tol=1e-9)
    assert found.converged
    np.testing.assert_allclose(found.x, np.linalg.pinv(matrix, rcond=1e-10) @ b, atol=1e-7)


def test_minres_of_an_inconsistent_system_stops_at_the_least_squares_residual():
    matrix = np.diag([0.0, 1.0, 2.0])
    found = dm.linalg.solve(dm.linalg.from_matrix(matrix), np.ones(3), method="minres")
    np.testing.assert_allclose(found.residual_norm, 1.0, rtol=1e-6)
    assert not found.converged
    assert jnp.isfinite(found.x).all()


@pytest.mark.parametrize("method", METHODS)
def test_an_impossible_tolerance_ends_without_convergence(method):
    matrix, b = rotated(np.logspace(-6, 0, 30)).astype(np.float32), right_hand_side(30).astype(np.float32)
    found = dm.linalg.solve(dm.linalg.from_matrix(matrix), b, method=method, tol=1e-12)
    assert not found.converged
    assert jnp.isfinite(found.x).all()
    np.testing.assert_allclose(found.residual_norm, np.linalg.norm(b - matrix @ found.x), rtol=1e-2, atol=1e-5)


def weighted(weights, vector):
    return jax.tree.map(jnp.multiply, weights, vector)


@pytest.mark.parametrize("method", METHODS)
def test_solutions_of_pytrees_are_pytrees_and_a_second_system_compiles_nothing(method):
    calls = []

    def counted(weights, vector):
        calls.append(1)
        return weighted(weights, vector)

    traces = []
    for factor in (1.0, 2.0):
        weights = {"w": factor * jnp.array([[1.0, 2.0]]), "b": jnp.array(4.0)}
        op = dm.linalg.operator(counted, weights, weights)
        calls.clear()
        found = dm.linalg.solve(op, jax.tree.map(jnp.ones_like, weights), method=method, tol=1e-10)
        traces.append(len(calls))
        jax.tree.map(lambda x, w: np.testing.assert_allclose(x * w, 1.0, rtol=1e-8), found.x, weights)
    assert traces[0] > 0
    assert traces[1] == 0


@pytest.mark.parametrize("method", METHODS)
def test_many_right_hand_sides_are_solved_by_vmap(method):
    matrix, b = rotated(np.linspace(1.0, 5.0, 12)), np.random.default_rng(3).normal(size=(4, 12))
    b[1] = 0
    op = dm.linalg.from_matrix(matrix)
    found = jax.vmap(lambda b: dm.linalg.solve(op, b, method=method, tol=1e-10))(jnp.asarray(b))
    np.testing.assert_allclose(found.x, np.linalg.solve(matrix, b.T).T, atol=1e-8)
    assert found.converged.all()
