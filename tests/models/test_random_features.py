import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

X = np.random.default_rng(0).normal(size=(6, 4))


def test_only_the_read_out_is_a_parameter_and_the_model_is_linear_in_it():
    with jax.enable_x64(True):
        model = dm.models.random_features(jax.random.key(0), 4, 20, 3, activation="tanh")
        a, b = (model.init(jax.random.key(seed), X) for seed in (1, 2))
        assert dm.models.count_parameters(a) == 60
        total = jax.tree.map(lambda p, q: 2 * p - 3 * q, a, b)
        np.testing.assert_allclose(model.apply(total, X), 2 * model.apply(a, X) - 3 * model.apply(b, X), rtol=1e-9)


def test_outputs_are_features_times_read_out():
    model = dm.models.random_features(jax.random.key(0), 4, 20, 3)
    params = model.init(jax.random.key(1), X)
    features = model.layers(params, X)[0].output
    assert features.shape == (6, 20)
    assert (features >= 0).all()
    np.testing.assert_allclose(model.apply(params, X), features @ params[0]["weight"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parameterization", ["standard", "ntk"])
def test_kernel_is_the_gram_matrix_of_the_gradients(parameterization):
    with jax.enable_x64(True):
        model = dm.models.random_features(
            jax.random.key(0), 4, 20, 1, parameterization=parameterization, weight_std=1.3, bias_std=0.3
        )
        params = model.init(jax.random.key(1), X)
        gradients = jax.jacobian(lambda p: model.apply(p, X)[:, 0])(params)
        flat = np.concatenate([np.asarray(g).reshape(6, -1) for g in jax.tree.leaves(gradients)], axis=1)
        np.testing.assert_allclose(model.kernel(X), flat @ flat.T, rtol=1e-10)
        np.testing.assert_allclose(model.kernel(X[:2], X), flat[:2] @ flat.T, rtol=1e-10)


def test_nngp_kernel_is_the_covariance_over_read_outs():
    model = dm.models.random_features(jax.random.key(0), 4, 20, 1, weight_std=1.3, bias_std=0.3)
    keys = jax.random.split(jax.random.key(1), 5000)
    outputs = np.asarray(jax.jit(jax.vmap(lambda k: model.apply(model.init(k, X), X)[:, 0]))(keys))
    kernel = np.asarray(model.kernel(X, get="nngp"))
    # Var of a product of two centred normals is k_ii k_jj + k_ij².
    error = np.sqrt((np.outer(kernel.diagonal(), kernel.diagonal()) + kernel**2) / len(outputs))
    assert (abs(outputs.T @ outputs / len(outputs) - kernel) < 4 * error).all()


def test_many_relu_features_have_the_arc_cosine_kernel():
    """Cho & Saul 2009: E φ(w·x)φ(w·x') = |x||x'| (sin θ + (π − θ) cos θ)/(2π) for w ~ N(0, 1)."""
    num = 40_000
    model = dm.models.random_features(jax.random.key(0), 4, num, 1, parameterization="ntk", weight_std=(2.0, 1.0))
    kernel = np.asarray(model.kernel(X))
    norms = np.linalg.norm(X, axis=1)
    cosine = np.clip(X @ X.T / np.outer(norms, norms), -1, 1)
    theta = np.arccos(cosine)
    expected = np.outer(norms, norms) * (np.sin(theta) + (np.pi - theta) * cosine) / (2 * np.pi)
    # σ_w²/d = 1; a product of two features has a second moment of at most 3/2 |x|²|x'|².
    assert (abs(kernel - expected) < 4 * np.outer(norms, norms) * (1.5 / num) ** 0.5).all()


def test_the_frozen_weights_are_an_argument_of_a_compiled_program_not_a_constant():
    model = dm.models.random_features(jax.random.key(0), 4, 20, 1)
    params = model.init(jax.random.key(1), X)
    leaves = jax.tree.leaves(model.apply)
    assert [leaf.shape for leaf in leaves] == [(4, 20)]
    applied = jax.jit(lambda apply, p, x: apply(p, x))(model.apply, params, jnp.asarray(X, jnp.float32))
    np.testing.assert_allclose(applied, model.apply(params, X), rtol=1e-4, atol=1e-5)
