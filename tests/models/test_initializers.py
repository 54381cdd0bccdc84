import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

I = dm.models.initializers
DENSE, CONV = (120, 80), (3, 3, 30, 50)

# Variance as a function of fan_in and fan_out, fourth moment over squared variance, largest value in deviations.
NORMAL, UNIFORM = (3.0, np.inf), (9 / 5, 3**0.5)
TABLE = {
    "lecun": (lambda i, o: 1 / i, NORMAL),
    "lecun_normal": (lambda i, o: 1 / i, NORMAL),
    "lecun_uniform": (lambda i, o: 1 / i, UNIFORM),
    "xavier": (lambda i, o: 2 / (i + o), UNIFORM),
    "xavier_normal": (lambda i, o: 2 / (i + o), NORMAL),
    "xavier_uniform": (lambda i, o: 2 / (i + o), UNIFORM),
    "he": (lambda i, o: 2 / i, NORMAL),
    "he_normal": (lambda i, o: 2 / i, NORMAL),
    "he_uniform": (lambda i, o: 2 / i, UNIFORM),
    "torch": (lambda i, o: 1 / (3 * i), UNIFORM),
}


@pytest.mark.parametrize("shape", [DENSE, CONV])
@pytest.mark.parametrize("name", TABLE)
def test_weights_have_the_variance_and_the_kurtosis_of_their_distribution(name, shape):
    variance, (kurtosis, bound) = TABLE[name]
    fan_in, fan_out = (120, 80) if shape == DENSE else (270, 450)
    w = np.asarray(I.get(name)[0](jax.random.key(0), shape), np.float64) / variance(fan_in, fan_out) ** 0.5
    assert abs(np.mean(w**2) - 1) < 4 * ((kurtosis - 1) / w.size) ** 0.5
    assert abs(np.mean(w)) < 4 / w.size**0.5
    assert abs(np.mean(w**4) - kurtosis) < 4 * (105 / w.size) ** 0.5
    assert np.abs(w).max() <= bound * (1 + 1e-5)


def test_every_name_is_tested_here():
    assert {*TABLE, "orthogonal"} == set(I.INITIALIZERS)


@pytest.mark.parametrize("shape", [(12, 8), (8, 12), (3, 3, 4, 50), (3, 3, 4, 10)])
def test_orthogonal_weights_are_an_isometry(shape):
    with jax.enable_x64(True):
        w = np.asarray(I.orthogonal(jax.random.key(0), shape)).reshape(-1, shape[-1])
        gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
        np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-12)


def test_orthogonal_weights_have_no_preferred_sign():
    keys = jax.random.split(jax.random.key(0), 1000)
    diagonal = np.asarray(jax.jit(jax.vmap(lambda k: I.orthogonal(k, (3, 3))))(keys))[:, [0, 1, 2], [0, 1, 2]]
    # An entry of a Haar matrix in dimension d has mean 0 and variance 1/d.
    assert (abs(diagonal.mean(axis=0)) < 4 * (1 / 3 / 1000) ** 0.5).all()
    np.testing.assert_allclose(diagonal.var(axis=0), 1 / 3, atol=4 * (0.2 / 1000) ** 0.5)


@pytest.mark.parametrize(("sizes", "expected"), [((50, 40, 30, 1), 0.0516667), ((10, 20, 5, 1), None)])
def test_variance_of_a_linear_network_with_torch_defaults(sizes, expected):
    """SNU homework 6: Var y_L = 3^{-L} + Σ_{k<L} 3^{-(L-k)}/n_k for inputs of unit variance."""
    depth = len(sizes) - 1
    formula = 3.0**-depth + sum(3.0 ** -(depth - k) / sizes[k] for k in range(depth))
    if expected:
        assert abs(formula - expected) < 1e-7
    model = dm.models.mlp(sizes[1:-1], 1, activation="identity", initializer="torch")

    def output(key):
        x_key, key = jax.random.split(key)
        x = jax.random.normal(x_key, (1, sizes[0]))
        return model.apply(model.init(key, x), x)[0, 0]

    sample = np.asarray(jax.jit(jax.vmap(output))(jax.random.split(jax.random.key(0), 10_000)), np.float64)
    squares = sample**2
    assert abs(squares.mean() - formula) < 4 * squares.std() / len(sample) ** 0.5


def test_constant_biases_leave_the_weights_to_their_initializer():
    x = jnp.ones((1, 5))
    model = dm.models.mlp([7], 2, initializer=("he", I.constant_bias(0.1)))
    params = model.init(jax.random.key(0), x)
    plain = dm.models.mlp([7], 2, initializer="he").init(jax.random.key(0), x)
    for p, q in zip(params, plain, strict=True):
        np.testing.assert_array_equal(p["bias"], np.float32(0.1))
        np.testing.assert_array_equal(p["weight"], q["weight"])
        np.testing.assert_array_equal(q["bias"], 0)


def test_initializers_of_jax_are_taken_as_they_are():
    x = jnp.ones((1, 5))
    model = dm.models.mlp([7], 2, initializer=(jax.nn.initializers.constant(0.5), I.constant_bias(0.03)))
    np.testing.assert_allclose(model.apply(model.init(jax.random.key(0), x), x), 7 * 2.53 / 2 + 0.03, rtol=1e-5)


def test_he_and_lecun_are_weight_std_root_two_and_one():
    x = jnp.ones((1, 5))
    for name, std in (("he", 2**0.5), ("lecun", 1.0)):
        named = dm.models.mlp([7], 2, initializer=name).init(jax.random.key(0), x)
        by_std = dm.models.mlp([7], 2, weight_std=std).init(jax.random.key(0), x)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), named, by_std)


def test_fans_of_a_convolution_count_its_area():
    assert I.fans((5, 5, 6, 16)) == (150, 400)
