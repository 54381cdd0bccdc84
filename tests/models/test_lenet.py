import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

X = np.random.default_rng(0).uniform(size=(2, 28, 28, 1)).astype(np.float32)


def start(model, x, seed=0):
    return jax.jit(model.init)(jax.random.key(seed), x)


# LeCun et al. 1998, Table I, row by row: which maps of C3 (columns 0 to 15) see each map of S2.
TABLE_I = """
X...XXX..XXXX.XX
XX...XXX..XXXX.X
XXX...XXX..X.XXX
.XXX..XXXX..X.XX
..XXX..XXXX.XX.X
...XXX..XXXX.XXX
"""


def test_parameters_number_61706_and_60806_in_the_original():
    counts = [
        dm.models.count_parameters(jax.eval_shape(dm.models.lenet5(original).init, jax.random.key(0), X))
        for original in (False, True)
    ]
    assert counts == [61_706, 60_806]


def test_layers_have_the_published_numbers_of_parameters():
    """C1 156, C3 1,516, C5 48,120, F6 10,164 (LeCun et al. 1998, sec. II.B)."""
    table = dm.models.describe(dm.models.lenet5(original=True), X)
    assert [row.parameters for row in table.rows] == [156, 1516, 48120, 10164, 850]
    assert [row.shape for row in table.rows] == [(28, 28, 6), (10, 10, 16), (120,), (84,), (10,)]


def test_layers_have_the_published_numbers_of_connections():
    """C1 122,304 and C3 151,600 connections, biases included (LeCun et al. 1998, sec. II.B)."""
    c1, c3 = dm.models.describe(dm.models.lenet5(original=True), X).rows[:2]
    assert c1.multiply_adds + 28 * 28 * 6 == 122_304
    assert c3.multiply_adds + 10 * 10 * 16 == 151_600


def test_each_map_of_c3_sees_the_maps_of_table_1():
    model = dm.models.lenet5(original=True)
    params = start(model, X)
    params = (params[0], jax.tree.map(jnp.ones_like, params[1]), *params[2:])

    def c3(c1_bias):
        first = params[0] | {"bias": c1_bias}
        return dm.models.preactivations(model, (first, *params[1:]), X[:1])[1][0, 5, 5]

    sees = np.asarray(jax.jacobian(c3)(params[0]["bias"])) != 0  # [map of C3, map of C1]
    expected = np.array([[c == "X" for c in row] for row in TABLE_I.split()]).T
    assert expected.sum() == 60
    np.testing.assert_array_equal(sees, expected)


@pytest.mark.parametrize("parameterization", ["standard", "ntk"])
def test_maps_of_the_original_c3_have_equal_variance_whatever_they_see(parameterization):
    model = dm.models.lenet5(original=True, activation="identity", parameterization=parameterization, bias_std=None)
    x = np.ones((1, 32, 32, 1), np.float32)

    def c3(key):
        return dm.models.preactivations(model, model.init(key, x), x)[1][0, 0, 0]

    sample = np.asarray(jax.jit(jax.vmap(c3))(jax.random.split(jax.random.key(0), 1000)))
    # With x = 1 and linear units every map of C1, hence every map of C3, has variance σ_w² = 1. Its fourth moment is
    # that of a product of normals: at most 3·3, so a relative standard error of at most √(8/N).
    assert (abs(sample.var(axis=0) - 1) < 4 * (8 / len(sample)) ** 0.5).all()


def test_28_pixels_are_padded_with_two_zeros_on_each_side():
    model = dm.models.lenet5()
    params = start(model, X)
    padded = np.pad(X, ((0, 0), (2, 2), (2, 2), (0, 0)))
    np.testing.assert_array_equal(model.apply(params, X), model.apply(params, padded))


def test_pooling_is_the_mean_over_disjoint_squares():
    model = dm.models.lenet5(activation="identity")
    params = start(model, X)
    c1, c3 = dm.models.preactivations(model, params, X)[:2]
    s2 = np.asarray(c1).reshape(2, 14, 2, 14, 2, 6).mean((2, 4))
    expected = np.einsum("bxyi,xyij->bj", s2[:, :5, :5], params[1]["weight"]) + params[1]["bias"]
    np.testing.assert_allclose(c3[:, 0, 0], expected, rtol=1e-4, atol=1e-5)
