"""Systems of matrices that stay on the host, against those of the same matrix as an operator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlmath import linalg

N = 30
_BASIS = np.linalg.qr(np.random.default_rng(0).normal(size=(N, N)))[0]
A = _BASIS * np.logspace(-3, 0, N) @ _BASIS.T
B = np.random.default_rng(1).normal(size=(N, 3))


@pytest.fixture(autouse=True)
def _double(float64):
    pass


class Counted:
    """V ↦ AV that counts its products."""

    def __init__(self, matrix=A):
        self.matrix, self.calls = matrix, 0

    def __call__(self, columns):
        self.calls += 1
        return self.matrix @ columns


def on_host(matmat):
    return linalg.HostOperator(matmat, N, np.dtype("float64"))


@pytest.mark.parametrize("shift", [None, 0.1])
@pytest.mark.parametrize("options", [{}, {"max_steps": 7}, {"tol": 1e-9}, {"x0": B[:, 1]}], ids=str)
def test_a_system_has_the_steps_and_the_solution_of_the_operator(shift, options):
    key = jax.random.key(0)
    found, expected = on_host(lambda v: A @ v), linalg.from_matrix(A)
    inverses = None, None
    if shift is not None:
        inverses = [linalg.nystrom_preconditioner(key, op, 5, shift=shift) for op in (found, expected)]
        found, expected = (linalg.shift(op, shift) for op in (found, expected))
    one = linalg.solve(found, B[:, 0], preconditioner=inverses[0], **options)
    other = linalg.solve(expected, jnp.asarray(B[:, 0]), preconditioner=inverses[1], **options)
    # Rounding of the products may cost the ill-conditioned one a step.
    assert abs(int(one.num_steps) - int(other.num_steps)) <= (0 if shift else 1)
    assert one.converged == other.converged == ("max_steps" not in options)
    assert not one.indefinite
    np.testing.assert_allclose(one.history[:6], other.history[:6], rtol=1e-9)
    size = float(options.get("tol", 1e-5)) * np.linalg.norm(B[:, 0]) / (1e-3 + (shift or 0))
    np.testing.assert_allclose(one.x, other.x, atol=max(2 * size, 1e-9) if one.converged else 1e-6)


def test_systems_share_products_and_rest_when_they_are_done():
    counted = Counted(A + 0.1 * np.eye(N))
    right = np.stack([B[:, 0], np.zeros(N), _BASIS[:, 3]], 1)
    found = linalg.solve(on_host(counted), right, tol=1e-9)
    assert found.converged.all()
    assert found.x.shape == (N, 3)
    assert found.num_steps[1:].tolist() == [0, 1]  # zero, and an eigenvector
    one = linalg.solve(on_host(Counted(counted.matrix)), B[:, 0], tol=1e-9)
    # Products with three columns and with one round differently, which may cost a step.
    assert abs(int(found.num_steps[0]) - int(one.num_steps)) <= 1
    assert counted.calls == int(found.num_steps[0]) + 1  # and one for the residual
    np.testing.assert_allclose(found.x, np.linalg.solve(counted.matrix, right), atol=1e-7)
    residual = np.linalg.norm(right - counted.matrix @ np.asarray(found.x), axis=0)
    np.testing.assert_allclose(found.residual_norm, residual, rtol=1e-6, atol=1e-14)


def test_a_direction_of_negative_curvature_is_reported():
    found = linalg.solve(on_host(lambda v: A @ v - 0.5 * v), B)
    assert found.indefinite.all()
    assert not found.converged.any()


def test_the_preconditioner_is_that_of_the_operator():
    counted = Counted()
    found = linalg.nystrom_preconditioner(jax.random.key(3), on_host(counted), 6, shift=1e-2)
    expected = linalg.nystrom_preconditioner(jax.random.key(3), linalg.from_matrix(A), 6, shift=1e-2)
    np.testing.assert_allclose(found(B[:, 0]), expected(jnp.asarray(B[:, 0])), rtol=1e-10)
    assert counted.calls == 1
