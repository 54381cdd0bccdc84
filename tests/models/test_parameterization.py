import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import dlmath as dm

X = jax.random.normal(jax.random.key(1), (16, 4))
Y = jax.random.normal(jax.random.key(2), (16, 10))


def loss(outputs, targets):
    return jnp.mean((outputs - targets) ** 2)


def changes(parameterization, optimizer, rate, widths, *, num_steps, num_seeds):
    """Root-mean-square change [width, layer] of two hidden layers and the output, over inputs, coordinates, seeds."""
    rows = []
    for width in widths:
        # A small read-out keeps the initial output, which is of order one in two of the three, below the targets.
        stds = (2**0.5, 2**0.5, 0.3)
        model = dm.models.mlp([width, width], 10, parameterization=parameterization, weight_std=stds)
        params = jax.eval_shape(model.init, jax.random.key(0), X)
        multipliers = dm.models.learning_rates(parameterization, params, optimizer)
        step = optax.chain(getattr(optax, optimizer)(rate), dm.models.scale_by_learning_rates(multipliers))
        delta = dm.models.coordinate_check(
            jax.random.key(0), model, loss, X, Y, step, num_steps=num_steps, num_seeds=num_seeds
        )
        rows.append(np.sqrt(np.mean(np.asarray(delta, np.float64) ** 2, axis=0)))
    return np.stack(rows)


def slopes(widths, values):
    return np.polyfit(np.log(widths), np.log(values), 1)[0]


@pytest.mark.parametrize(
    ("parameterization", "rate", "expected"), [("mup", 0.1, 0.0), ("ntk", 0.1, -0.5), ("standard", 1e-4, 0.5)]
)
def test_last_hidden_layer_moves_in_one_gradient_step_by_a_power_of_the_width(parameterization, rate, expected):
    """Yang & Hu 2021 (2011.14522): 0, −1/2, and +1/2 for the standard one at a rate independent of width."""
    widths = (64, 512)
    delta = changes(parameterization, "sgd", rate, widths, num_steps=1, num_seeds=10)
    assert abs(slopes(widths, delta)[1] - expected) < 0.1


def test_under_mup_every_layer_moves_by_as_much_at_every_width_with_adam():
    """Coordinate check of Yang et al. 2022 (2203.03466), app. D.1, after 5 steps."""
    widths = (64, 512)
    assert np.abs(slopes(widths, changes("mup", "adam", 3e-3, widths, num_steps=5, num_seeds=4))).max() < 0.05


def test_under_the_standard_parameterization_adam_moves_the_outputs_more_in_wider_networks():
    widths = (64, 512)
    assert slopes(widths, changes("standard", "adam", 1e-4, widths, num_steps=5, num_seeds=3))[-1] > 0.5


def multipliers(parameterization, optimizer, model=None, x=X, **options):
    model = model or dm.models.mlp([8, 16, 32], 10, parameterization=parameterization)
    params = jax.eval_shape(model.init, jax.random.key(0), x)
    return dm.models.learning_rates(parameterization, params, optimizer, **options)


def test_mup_multipliers_are_those_of_table_8():
    """Yang et al. 2022, Table 8, widths 4-8-16-32-10."""
    sgd = multipliers("mup", "sgd")
    assert [p["weight"] for p in sgd] == [8, 1, 1, 32]
    assert [p["bias"] for p in sgd] == [8, 16, 32, 1]
    adam = multipliers("mup", "adam")
    assert [p["weight"] for p in adam] == [1, 1 / 8, 1 / 16, 1]
    assert [p["bias"] for p in adam] == [1, 1, 1, 1]


def test_base_width_measures_widths_in_its_units():
    model = dm.models.mlp([8, 8], 10, parameterization="mup")
    assert set(jax.tree.leaves(multipliers("mup", "sgd", model, base_width=8))) == {1.0}
    assert set(jax.tree.leaves(multipliers("mup", "adam", model, base_width=8))) == {1.0}


@pytest.mark.parametrize("parameterization", ["standard", "ntk"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_multipliers_of_the_others_are_one(parameterization, optimizer):
    assert set(jax.tree.leaves(multipliers(parameterization, optimizer))) == {1.0}


def test_convolutions_in_the_middle_of_a_residual_network_are_hidden_layers():
    model = dm.models.resnet(6, 4, 3, stages=(1, 2), parameterization="mup")
    adam = multipliers("mup", "adam", model, jnp.ones((1, 8, 8, 3)))
    assert adam[0]["weight"] == 1
    assert adam[1]["conv1"]["weight"] == 1 / 36
    assert adam[2]["shortcut"]["weight"] == 1 / 4
    assert adam[2]["norm1"] == {"scale": 1, "shift": 1}
    assert adam[-1]["weight"] == 1
    sgd = multipliers("mup", "sgd", model, jnp.ones((1, 8, 8, 3)))
    assert (sgd[0]["weight"], sgd[2]["norm2"]["scale"], sgd[-1]["weight"], sgd[-1]["bias"]) == (4, 8, 8, 1)


def test_a_network_without_hidden_layers_has_no_width_to_scale_with():
    model = dm.models.mlp([], 10, parameterization="mup")
    assert set(jax.tree.leaves(multipliers("mup", "sgd", model))) == {1.0}


def test_scaled_updates_are_the_updates_times_the_multipliers():
    model = dm.models.mlp([8], 10, parameterization="mup")
    params = model.init(jax.random.key(0), X)
    gradient = jax.grad(lambda p: loss(model.apply(p, X), Y))(params)
    m = dm.models.learning_rates("mup", params)
    step = optax.chain(optax.sgd(0.5), dm.models.scale_by_learning_rates(m))
    updates, _ = step.update(gradient, step.init(params), params)
    jax.tree.map(lambda u, g, c: np.testing.assert_allclose(u, -0.5 * c * g, rtol=1e-5), updates, gradient, m)


def test_mup_in_yang_and_hus_form_learns_the_same_function():
    """Their Table 1 for the network without biases: W¹ = n^½ w, W² = w, W³ = n^{-½} w, w ~ N(0, 1/n), one rate."""
    n, rate = 32, 0.1
    with jax.enable_x64(True):
        x, y = np.asarray(X, np.float64), np.asarray(Y, np.float64)
        model = dm.models.mlp([n, n], 10, parameterization="mup", bias_std=None, activation="tanh")
        params = model.init(jax.random.key(0), x)

        def theirs(w):
            return jnp.tanh(jnp.tanh(x @ (n**0.5 * w[0])) @ w[1]) @ (n**-0.5 * w[2])

        w = [params[0]["weight"] / n**0.5, params[1]["weight"], params[2]["weight"] / n**0.5]
        step = optax.chain(optax.sgd(rate), dm.models.scale_by_learning_rates(dm.models.learning_rates("mup", params)))
        state = step.init(params)
        for _ in range(3):
            updates, state = step.update(jax.grad(lambda p: loss(model.apply(p, x), y))(params), state)
            params = optax.apply_updates(params, updates)
            w = [a - rate * g for a, g in zip(w, jax.grad(lambda v: loss(theirs(v), y))(w), strict=True)]
        np.testing.assert_allclose(model.apply(params, x), theirs(w), rtol=1e-10, atol=1e-12)
