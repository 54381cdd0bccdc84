import jax
import jax.numpy as jnp
import optax
import pytest

import dlmath as dm

VECTORS, IMAGES, DIGITS = jnp.ones((2, 5)), jnp.ones((2, 8, 8, 3)), jnp.ones((2, 28, 28, 1))


def resnet(x):
    model = dm.models.resnet(10, 4, 3)
    return dm.models.freeze(model, model.init_state(x))


def pooled(key, x):
    model = dm.models.pooled_cnn([4, 5], 2)
    return model.apply_train(key, model.init(key, x), model.init_state(x), x)


def train(key, x):
    model = dm.models.resnet(10, 4, 3)
    return model.apply_train(key, model.init(key, x), model.init_state(x), x)


def run(build):
    def function(key, x):
        model = build(x)
        params = model.init(key, x)
        gradient = jax.grad(lambda p: model.apply(p, x).sum())(params)
        return model.apply(params, x), gradient, dm.models.preactivations(model, params, x)

    return function


def check(key, x):
    model, y = dm.models.mlp([5], 1, parameterization="mup"), jnp.ones((2, 1))
    rates = dm.models.learning_rates("mup", jax.eval_shape(model.init, key, x), "adam")
    step = optax.chain(optax.adam(0.1), dm.models.scale_by_learning_rates(rates))
    return dm.models.coordinate_check(key, model, lambda a, b: jnp.mean((a - b) ** 2), x, y, step, num_seeds=2)


FUNCTIONS = {
    "pooled cnn": (pooled, IMAGES),
    "mlp": (run(lambda x: dm.models.mlp([5], 2, initializer="torch")), VECTORS),
    "mup": (run(lambda x: dm.models.mlp([5], 2, parameterization="mup")), VECTORS),
    "orthogonal": (run(lambda x: dm.models.mlp([5], 2, initializer="orthogonal")), VECTORS),
    "cnn": (run(lambda x: dm.models.cnn([4], 2, padding="CIRCULAR", pool="flatten")), IMAGES),
    "resnet": (run(resnet), IMAGES),
    "resnet in training": (train, IMAGES),
    "layer norm": (run(lambda x: dm.models.resnet(10, 4, 3, norm="layer")), IMAGES),
    "lenet5": (run(lambda x: dm.models.lenet5(True)), DIGITS),
    "random_features": (run(lambda x: dm.models.random_features(jax.random.key(1), 5, 8, 2)), VECTORS),
    "random features kernel": (
        lambda key, x: dm.models.random_features(key, 5, 8, 2).kernel(x),
        VECTORS,
    ),
    "coordinate_check": (check, VECTORS),
    **{
        f"activations.{name}": (lambda key, x, phi=phi: jax.grad(lambda v: phi(v).sum())(x), VECTORS)
        for name, phi in dm.models.activations.ACTIVATIONS.items()
    },
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lowers_for_cuda_and_tpu(name):
    function, x = FUNCTIONS[name]
    jax.jit(function).trace(jax.random.key(0), x).lower(lowering_platforms=("cuda", "tpu"))
