import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

IMAGES = jnp.linspace(-1, 1, 2 * 8 * 8 * 3).reshape(2, 8, 8, 3)
DIGITS = jnp.linspace(-1, 1, 2 * 28 * 28).reshape(2, 28, 28, 1)
VECTORS = jnp.linspace(-1, 1, 2 * 5).reshape(2, 5)


def frozen_resnet(**options):
    model = dm.models.resnet(6, 4, 3, stages=(1, 2), **options)
    return dm.models.freeze(model, model.init_state(IMAGES)) if model.init_state else model


NETWORKS = {
    "mlp": (lambda: dm.models.mlp([7, 6], 3), VECTORS),
    "linear": (lambda: dm.models.mlp([], 3), VECTORS),
    "ntk mlp": (lambda: dm.models.mlp([7, 6], 3, parameterization="ntk", bias_std=0.1), VECTORS),
    "mup mlp": (lambda: dm.models.mlp([7, 6], 3, parameterization="mup", bias_std=0.1), VECTORS),
    "cnn": (lambda: dm.models.cnn([4, 5], 3, pool="flatten", strides=(2, 1)), IMAGES),
    "batch norm": (frozen_resnet, IMAGES),
    "layer norm": (lambda: frozen_resnet(norm="layer"), IMAGES),
    "lenet": (dm.models.lenet5, DIGITS),
    "original lenet": (lambda: dm.models.lenet5(True), DIGITS),
    "random features": (lambda: dm.models.random_features(jax.random.key(3), 5, 8, 3), VECTORS),
}


def start(name, seed=0):
    build, x = NETWORKS[name]
    model = build()
    return model, jax.jit(model.init)(jax.random.key(seed), x), x


each = pytest.mark.parametrize("name", NETWORKS)


@each
def test_init_needs_only_the_shape_of_the_inputs(name):
    build, x = NETWORKS[name]
    model = build()
    key = jax.random.key(0)
    init = jax.jit(model.init)
    from_shape = jax.jit(lambda key: model.init(key, jax.ShapeDtypeStruct(x.shape, x.dtype)))(key)
    jax.tree.map(np.testing.assert_array_equal, init(key, x), init(key, jnp.full(x.shape, jnp.nan)))
    jax.tree.map(np.testing.assert_array_equal, init(key, x), from_shape)


@each
def test_outputs_of_one_example_do_not_depend_on_the_others(name):
    model, params, x = start(name)
    alone = jax.jit(jax.vmap(lambda row: model.apply(params, row[None])[0]))(x)
    np.testing.assert_allclose(jax.jit(model.apply)(params, x), alone, rtol=2e-4, atol=1e-5)


@each
def test_the_gradient_is_the_limit_of_difference_quotients(name):
    with jax.enable_x64(True):
        model, params, x = start(name)
        x = np.asarray(x, np.float64)
        direction = jax.jit(model.init)(jax.random.key(7), x)

        def along(t):
            moved = jax.tree.map(lambda p, d: p + t * d, params, direction)
            return jnp.sum(jnp.sin(model.apply(moved, x)))

        h = 1e-6
        values, slopes = jax.jit(lambda ts: jax.lax.map(jax.value_and_grad(along), ts))(jnp.array([-h, 0.0, h]))
        quotient = (values[2] - values[0]) / (2 * h)
        np.testing.assert_allclose(slopes[1], quotient, rtol=1e-4, atol=1e-6 * (1 + abs(values[1])))


@pytest.mark.parametrize("name", ["mlp", "cnn", "layer norm"])
def test_an_ensemble_by_vmap_is_its_members(name):
    build, x = NETWORKS[name]
    model = build()
    keys = jax.random.split(jax.random.key(0), 3)
    params = jax.jit(jax.vmap(model.init, in_axes=(0, None)))(keys, x)
    together = jax.jit(jax.vmap(model.apply, in_axes=(0, None)))(params, x)
    one = jax.jit(lambda key: model.apply(model.init(key, x), x))(keys[1])
    np.testing.assert_allclose(together[1], one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "cnn", "layer norm", "original lenet", "random features"])
def test_parameters_and_outputs_have_the_precision_of_the_mode(name):
    for enabled, dtype in ((False, jnp.float32), (True, jnp.float64)):
        with jax.enable_x64(enabled):
            build, x = NETWORKS[name]
            model = build()
            x = np.asarray(x, dtype)
            params = jax.eval_shape(model.init, jax.random.key(0), x)
            assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(dtype)}
            assert jax.eval_shape(model.apply, params, x).dtype == dtype


def test_integer_images_are_taken_as_numbers():
    model = dm.models.cnn([4], 2)
    x = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4, 1)
    params = model.init(jax.random.key(0), x)
    np.testing.assert_array_equal(model.apply(params, x), model.apply(params, x.astype(np.float32)))


@each
def test_the_last_layer_is_the_output(name):
    model, params, x = start(name)
    outputs = jax.eval_shape(model.apply, params, x)
    layers = jax.eval_shape(model.layers, params, x)
    assert layers[-1].output.shape == outputs.shape == (2, outputs.shape[1])
    assert len({layer.name for layer in layers}) == len(layers)


def test_networks_run_where_rank_promotion_is_forbidden():
    with jax.numpy_rank_promotion("raise"):
        for name in ("mlp", "ntk mlp", "cnn", "batch norm", "random features"):
            build, x = NETWORKS[name]
            model = build()
            params = jax.eval_shape(model.init, jax.random.key(0), x)
            assert jax.eval_shape(model.apply, params, x).shape[0] == 2


def test_freezing_a_pure_model_is_refused():
    with pytest.raises(ValueError, match="pure already"):
        dm.models.freeze(dm.models.mlp([2], 1), ())


def test_kernels_under_mup_are_refused_with_the_reason():
    model = dm.models.mlp([8], 1, parameterization="mup")
    with pytest.raises(ValueError, match="learns features"):
        model.kernel(VECTORS)


@pytest.mark.parametrize(
    "build",
    [
        lambda: dm.models.mlp([7, 6], 3, weight_std=[1.0, 1.0, 0.5]),
        lambda: dm.models.cnn([4, 5], 3, activation=jnp.tanh),
        lambda: dm.models.resnet(6, 4, 3, stages=(1, 2)),
        lambda: dm.models.transformer(4, vocabulary=8, model_dim=4, num_heads=2, num_layers=1),
    ],
)
def test_equal_arguments_give_functions_of_one_identity(build):
    assert build() is build()


def test_models_of_other_arguments_are_others():
    models = [
        dm.models.mlp([7], 1),
        dm.models.mlp([7], 2),
        dm.models.mlp([7], 1, activation="tanh"),
        dm.models.mlp([7], 1, bias_std=None),
    ]
    assert len({model.apply for model in models}) == len(models)


def test_arguments_that_are_refused_stay_so_where_an_equal_number_was_taken():
    dm.models.mlp([1], 1)
    with pytest.raises(TypeError, match="outputs"):
        dm.models.mlp([1], True)


def test_models_of_arrays_hold_them():
    halves, ones = (dm.models.mlp([7], 1, weight_std=jnp.full(2, std), bias_std=None) for std in (0.5, 1.0))
    params = [model.init(jax.random.key(0), VECTORS) for model in (halves, ones)]
    np.testing.assert_allclose(2 * np.asarray(params[0][0]["weight"]), params[1][0]["weight"], rtol=1e-6)
