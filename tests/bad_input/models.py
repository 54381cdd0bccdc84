"""Malformed calls of dlmath.models: networks, initializers, parameterizations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import dlmath as dm

KEY, X, IMAGES = jax.random.key(0), jnp.ones((2, 3)), jnp.ones((2, 8, 8, 3))
mlp, cnn, resnet = dm.models.mlp, dm.models.cnn, dm.models.resnet


def loss(outputs, targets):
    return jnp.mean((outputs - targets) ** 2)


def check(**changed):
    options = {"model": mlp([4], 1), "x": X, "y": jnp.ones((2, 1))} | changed
    model, x, y = options.pop("model"), options.pop("x"), options.pop("y")
    return dm.models.coordinate_check(KEY, model, loss, x, y, optax.sgd(0.1), **options)


CASES = [
    (
        "pooled_cnn, more pooling than pixels",
        lambda: dm.models.pooled_cnn([4, 4], 2, pools=[4, 4]).init(KEY, IMAGES),
        ValueError,
        r"pools must leave at least one pixel, got \(4, 4\)",
    ),
    (
        "pooled_cnn, no convolution",
        lambda: dm.models.pooled_cnn([], 2),
        ValueError,
        r"channels must name at least one convolution",
    ),
    (
        "pooled_cnn, layer norm",
        lambda: dm.models.pooled_cnn([4], 2, norm="layer"),
        ValueError,
        r"norm must be one of 'batch', got 'layer'",
    ),
    (
        "frozen_apply, model without state",
        lambda: dm.models.frozen_apply(mlp([4], 2)),
        ValueError,
        r"model must have a state to freeze",
    ),
    ("mlp, negative width", lambda: mlp([64, -3], 1), ValueError, r"hidden\[1\] must be positive, got -3"),
    ("mlp, one number for the widths", lambda: mlp(64, 1), TypeError, r"hidden must be a sequence of widths"),
    ("mlp, fractional width", lambda: mlp([6.5], 1), TypeError, r"hidden\[0\] must be an integer, got 6\.5"),
    ("mlp, no outputs", lambda: mlp([4], 0), ValueError, r"outputs must be positive, got 0"),
    (
        "mlp, misspelt activation",
        lambda: mlp([4], 1, activation="rellu"),
        ValueError,
        r"activation must be one of.*did you mean 'relu'",
    ),
    ("mlp, number as activation", lambda: mlp([4], 1, activation=3), TypeError, r"activation must be a function"),
    (
        "mlp, misspelt parameterization",
        lambda: mlp([4], 1, parameterization="nkt"),
        ValueError,
        r"parameterization must be one of.*did you mean 'ntk'",
    ),
    (
        "mlp, one deviation too few",
        lambda: mlp([4, 4], 1, weight_std=[1.0, 1.0]),
        ValueError,
        r"weight_std must be one number or one per layer, read-out included \(3\), got 2",
    ),
    (
        "mlp, negative deviation",
        lambda: mlp([4], 1, weight_std=[1.0, -1.0]),
        ValueError,
        r"weight_std\[1\] must be non-negative, got -1",
    ),
    ("mlp, deviation not a number", lambda: mlp([4], 1, bias_std=np.nan), ValueError, r"bias_std must be finite"),
    ("mlp, deviation in words", lambda: mlp([4], 1, bias_std="small"), TypeError, r"bias_std must be a real number"),
    (
        "mlp, misspelt initializer",
        lambda: mlp([4], 1, initializer="xavier_norm"),
        ValueError,
        r"initializer must be one of.*did you mean 'xavier_normal'",
    ),
    ("mlp, number as initializer", lambda: mlp([4], 1, initializer=0.1), TypeError, r"initializer must be a name"),
    (
        "mlp, initializer under ntk",
        lambda: mlp([4], 1, initializer="he", parameterization="ntk"),
        ValueError,
        r"initializer must be None under the ntk parameterization",
    ),
    (
        "mlp, initializer and deviation",
        lambda: mlp([4], 1, initializer="he", weight_std=1.0),
        ValueError,
        r"weight_std must be None when an initializer",
    ),
    (
        "mlp, torch biases and deviation",
        lambda: mlp([4], 1, initializer="torch", bias_std=0.1),
        ValueError,
        r"bias_std must be 0 or None",
    ),
    (
        "mlp, initializer of another shape",
        lambda: mlp([4], 1, initializer=lambda key, shape, dtype: jnp.ones(3)).init(KEY, X),
        ValueError,
        r"initializer must return weights of shape \(3, 4\)",
    ),
    ("init, old-style key", lambda: mlp([4], 1).init(jax.random.PRNGKey(0), X), TypeError, r"key must be a typed key"),
    ("init, seed for a key", lambda: mlp([4], 1).init(0, X), TypeError, r"key must be a typed key"),
    ("init, images into an mlp", lambda: mlp([4], 1).init(KEY, IMAGES), ValueError, r"x must have 2 dim.*flatten"),
    ("init, no features", lambda: mlp([4], 1).init(KEY, jnp.ones((2, 0))), ValueError, r"x must not be empty"),
    (
        "apply, another number of features",
        lambda: mlp([4], 1).apply(mlp([4], 1).init(KEY, X), jnp.ones((2, 5))),
        ValueError,
        r"x must have 3 features.*got shape \(2, 5\)",
    ),
    (
        "apply, parameters of another network",
        lambda: mlp([4, 4], 1).apply(mlp([4], 1).init(KEY, X), X),
        ValueError,
        r"params must be a tuple of 3 layers.*got 2",
    ),
    (
        "kernel, under mup",
        lambda: mlp([4], 1, parameterization="mup").kernel(X),
        ValueError,
        r"parameterization must be 'ntk' or 'standard' for a kernel",
    ),
    ("kernel, of another kind", lambda: mlp([4], 1).kernel(X, get="nkgp"), ValueError, r"get must be one of.*nngp"),
    (
        "kernel, with an initializer",
        lambda: mlp([4], 1, initializer="he").kernel(X),
        ValueError,
        r"initializer must be None for a kernel",
    ),
    ("cnn, no convolutions", lambda: cnn([], 1), ValueError, r"channels must name at least one"),
    (
        "cnn, unknown padding",
        lambda: cnn([4], 1, padding="same"),
        ValueError,
        r"padding must be one of 'SAME', 'VALID', 'CIRCULAR'",
    ),
    ("cnn, unknown pool", lambda: cnn([4], 1, pool="average"), ValueError, r"pool must be one of.*global_average"),
    (
        "cnn, kernel sizes of other layers",
        lambda: cnn([4, 4], 1, kernel_size=[3, 3, 3]),
        ValueError,
        r"kernel_size must be one integer or one entry per layer \(2\), got 3",
    ),
    ("cnn, stride zero", lambda: cnn([4], 1, strides=0), ValueError, r"strides must be positive, got 0"),
    ("cnn, grey image without channels", lambda: cnn([4], 1).init(KEY, X), ValueError, r"x must have 4 dimensions"),
    (
        "cnn, image too small",
        lambda: cnn([4], 1, kernel_size=9, padding="VALID").init(KEY, IMAGES),
        ValueError,
        r"x must have at least 9 pixels.*got 8",
    ),
    ("resnet, impossible depth", lambda: resnet(19, 8, 10), ValueError, r"depth must be 2 \+ 8.*got 19"),
    ("resnet, negative width", lambda: resnet(18, -8, 10), ValueError, r"width must be positive, got -8"),
    ("resnet, unknown norm", lambda: resnet(18, 8, 10, norm="bach"), ValueError, r"norm must be.*did you mean 'batch'"),
    (
        "resnet, not frozen",
        lambda: resnet(10, 4, 3).apply(resnet(10, 4, 3).init(KEY, IMAGES), IMAGES),
        ValueError,
        r"params alone do not determine.*models\.freeze",
    ),
    (
        "resnet, kernel with batch norm",
        lambda: resnet(10, 4, 3).kernel(IMAGES),
        ValueError,
        r"norm must be None or 'layer' for a kernel",
    ),
    (
        "lenet5, colour images",
        lambda: dm.models.lenet5().init(KEY, IMAGES),
        ValueError,
        r"x must have shape \[batch, 28",
    ),
    (
        "random_features, no features",
        lambda: dm.models.random_features(KEY, 3, 0, 1),
        ValueError,
        r"num_features must be positive, got 0",
    ),
    (
        "random_features, mup",
        lambda: dm.models.random_features(KEY, 3, 5, 1, parameterization="mup"),
        ValueError,
        r"parameterization must be one of 'standard', 'ntk'",
    ),
    ("freeze, a pure model", lambda: dm.models.freeze(mlp([4], 1), ()), ValueError, r"model must have a state"),
    (
        "learning_rates, unknown optimizer",
        lambda: dm.models.learning_rates("mup", mlp([4], 1).init(KEY, X), "adamm"),
        ValueError,
        r"optimizer must be one of 'sgd', 'adam'.*did you mean 'adam'",
    ),
    ("coordinate_check, no steps", lambda: check(num_steps=0), ValueError, r"num_steps must be positive, got 0"),
    ("coordinate_check, rows differ", lambda: check(y=jnp.ones((3, 1))), ValueError, r"x and y must have the same"),
    ("coordinate_check, NaN data", lambda: check(x=jnp.full((2, 3), jnp.nan)), ValueError, r"x must be finite, got 6"),
    (
        "coordinate_check, unknown layers",
        lambda: check(model=dm.models.Model(mlp([4], 1).init, mlp([4], 1).apply)),
        ValueError,
        r"model must expose its layers",
    ),
    (
        "initializers, a vector",
        lambda: dm.models.initializers.he_normal(KEY, (3,)),
        ValueError,
        r"shape must have at least two axes",
    ),
]
