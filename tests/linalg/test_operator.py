import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm

MATRIX = jnp.array([[2.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 1.0]])


def scaled(c, vector):
    return jax.tree.map(lambda leaf: c * leaf, vector)


LIKE = {"weight": jnp.zeros((2, 3)), "bias": jnp.zeros(2)}


def test_an_operator_of_a_matrix_multiplies_by_it():
    vector = jnp.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(dm.linalg.from_matrix(MATRIX)(vector), MATRIX @ vector)


def test_size_is_the_number_of_entries():
    assert dm.linalg.operator(scaled, LIKE, 2.0).size == 8


def test_unravel_is_the_inverse_of_ravel():
    op = dm.linalg.operator(scaled, LIKE, 2.0)
    flat = jnp.arange(8.0)
    np.testing.assert_array_equal(op.ravel(op.unravel(flat)), flat)
    assert jax.tree.map(jnp.shape, op.unravel(flat)) == {"weight": (2, 3), "bias": (2,)}


def test_the_flat_product_is_the_raveled_product():
    op = dm.linalg.operator(scaled, LIKE, 2.0)
    np.testing.assert_array_equal(op.flat(jnp.arange(8.0)), 2 * jnp.arange(8.0))


def test_an_operator_is_an_argument_of_jit_and_vmap():
    square = jax.jit(lambda op, vector: op(op(vector)))
    ones = jnp.ones(3)
    np.testing.assert_allclose(square(dm.linalg.from_matrix(MATRIX), ones), MATRIX @ MATRIX @ ones)
    stacked = jax.vmap(dm.linalg.from_matrix)(jnp.stack([MATRIX, 2 * MATRIX]))
    images = jax.vmap(lambda op: op(ones))(stacked)
    np.testing.assert_allclose(images[1], 2 * images[0])


def test_mixed_precisions_are_raveled_to_the_wider_and_unraveled_to_each():
    with jax.enable_x64(True):
        like = [jnp.zeros(2, "float32"), jnp.zeros(1, "float64")]
        op = dm.linalg.operator(scaled, like, jnp.float32(2.0))
        assert op.dtype == "float64"
        assert [leaf.dtype for leaf in op.unravel(jnp.zeros(3))] == ["float32", "float64"]


def test_operators_of_equal_structure_share_a_program():
    count = []

    @jax.jit
    def apply(op, vector):
        count.append(1)
        return op(vector)

    for c in (2.0, 3.0):
        apply(dm.linalg.operator(scaled, LIKE, jnp.asarray(c)), LIKE)
    assert len(count) == 1
