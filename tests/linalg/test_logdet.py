import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

pytestmark = pytest.mark.usefixtures("float64")


def rotated(eigenvalues):
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.normal(size=(len(eigenvalues), len(eigenvalues))))[0]
    return (q * eigenvalues) @ q.T


def double(vector):
    return 2 * vector


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_determinant_of_twice_the_identity_survives_breakdown(dtype):
    op = dm.linalg.operator(double, jnp.zeros(400, dtype))
    found = dm.linalg.logdet(jax.random.key(0), op, num_probes=3, num_steps=20)
    np.testing.assert_allclose(found.value, 277.258872, rtol=1e-5 if dtype == "float32" else 1e-9)  # 400 log 2
    assert found.value.dtype == dtype


def test_with_all_steps_only_the_probes_err_and_t_intervals_cover_the_logarithm():
    matrix = rotated(np.logspace(-2, 1, 24))
    truth = np.linalg.slogdet(matrix)[1]
    op = dm.linalg.from_matrix(matrix)
    keys = jax.random.split(jax.random.key(0), 300)
    found = jax.jit(jax.vmap(lambda key: dm.linalg.logdet(key, op, num_probes=15, num_steps=20)))(keys)
    low, high = dm.linalg.interval(found, 14)
    assert abs(found.value.mean() - truth) < 4 * found.value.std() / np.sqrt(300)
    assert 0.90 <= ((low <= truth) & (truth <= high)).mean() <= 0.99


def test_the_quadrature_converges_geometrically_at_the_rate_of_the_condition_number():
    matrix, key = rotated(np.linspace(1.0, 9.0, 60)), jax.random.key(0)
    op = dm.linalg.from_matrix(matrix)
    exact = dm.linalg.logdet(key, op, num_probes=2, num_steps=60).value
    steps = np.array([2, 4, 6, 8])
    errors = [abs(dm.linalg.logdet(key, op, num_probes=2, num_steps=int(k)).value - exact) for k in steps]
    slope = np.polyfit(steps, np.log(errors), 1)[0]
    assert slope < 0.9 * 2 * np.log((3 - 1) / (3 + 1))  # the bound of Ubaru, Chen and Saad, κ = 9


@pytest.mark.parametrize("eigenvalues", [np.linspace(-1, 1, 10), -np.ones(10), np.arange(10.0), np.zeros(10)])
def test_an_operator_that_is_not_positive_definite_is_an_error_and_nan_under_jit(eigenvalues):
    op = dm.linalg.from_matrix(rotated(eigenvalues))
    with pytest.raises(ValueError, match=r"op must be positive definite.*add a multiple of the identity"):
        dm.linalg.logdet(jax.random.key(0), op, num_probes=2, num_steps=10)
    found = jax.jit(lambda op: dm.linalg.logdet(jax.random.key(0), op, num_probes=2, num_steps=10))(op)
    assert np.isnan(found).all()


def test_probes_in_blocks_give_the_same_number():
    op = dm.linalg.from_matrix(rotated(np.linspace(1.0, 9.0, 20)))
    one, three = (
        dm.linalg.logdet(jax.random.key(0), op, num_probes=7, num_steps=8, block=block, probes="gaussian")
        for block in (1, 3)
    )
    np.testing.assert_allclose(one, three, rtol=1e-10)
