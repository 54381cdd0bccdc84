"""Losses against their definitions in NumPy, their gradients, their convexity and their range."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

losses = dm.train.losses

REGRESSION = {
    "mse": (losses.mse, lambda f, y: np.square(f - y)),
    "half_mse": (losses.half_mse, lambda f, y: np.square(f - y) / 2),
    "huber": (losses.huber, lambda f, y: np.where(abs(f - y) <= 1, (f - y) ** 2 / 2, abs(f - y) - 0.5)),
}
MARGIN = {
    "logistic": (losses.logistic, lambda f, y: np.log1p(np.exp(-y * f))),
    "hinge": (losses.hinge, lambda f, y: np.maximum(0, 1 - y * f)),
}


@pytest.mark.parametrize("name", REGRESSION | MARGIN)
@pytest.mark.parametrize("shape", [(7,), (7, 3), (2, 7, 3)])
def test_losses_sum_over_the_last_axis_and_average_over_the_examples(name, shape):
    loss, elementwise = (REGRESSION | MARGIN)[name]
    rng = np.random.default_rng(0)
    f = 2 * rng.standard_normal(shape)
    y = rng.choice([-1.0, 1.0], shape)
    values = elementwise(f, y)
    per_example = values.sum(-1) if len(shape) > 1 else values
    with jax.enable_x64(True):
        np.testing.assert_allclose(loss(f, y), per_example.mean(), rtol=1e-12)
        np.testing.assert_allclose(loss(f, y, reduction="sum"), per_example.sum(), rtol=1e-12)


def test_half_is_one_half():
    f, y = jnp.array([[1.0, 3.0]]), jnp.array([[0.0, 1.0]])
    assert losses.mse(f, y) == 5.0
    assert losses.mse(f, y, half=True) == losses.half_mse(f, y) == 2.5


def test_cross_entropy_of_integers_equals_that_of_one_hot_targets_and_the_definition():
    rng = np.random.default_rng(1)
    logits, labels = rng.standard_normal((5, 4)), np.array([0, 3, 1, 1, 2])
    expected = -np.mean([logits[i, c] - np.log(np.exp(logits[i]).sum()) for i, c in enumerate(labels)])
    with jax.enable_x64(True):
        np.testing.assert_allclose(losses.cross_entropy(logits, labels), expected, rtol=1e-12)
        np.testing.assert_allclose(losses.cross_entropy(logits, np.eye(4)[labels]), expected, rtol=1e-12)


def test_cross_entropy_with_soft_targets_is_entropy_plus_divergence():
    p = np.array([[0.2, 0.5, 0.3]])
    with jax.enable_x64(True):
        np.testing.assert_allclose(losses.cross_entropy(np.log(p), p), -(p * np.log(p)).sum(), rtol=1e-12)


def test_gradient_of_cross_entropy_is_softmax_minus_target():
    rng = np.random.default_rng(2)
    logits, labels = rng.standard_normal((6, 5)), rng.integers(0, 5, 6)
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    with jax.enable_x64(True):
        gradient = jax.grad(losses.cross_entropy)(jnp.asarray(logits), labels)
        np.testing.assert_allclose(gradient, (softmax - np.eye(5)[labels]) / 6, atol=1e-14)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", ["cross_entropy", "logistic", "hinge", "huber", "mse"])
def test_logits_of_1e4_overflow_neither_losses_nor_gradients(name, dtype):
    loss = getattr(losses, name)
    logits = jnp.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype)
    targets = jnp.array([1, 0]) if name == "cross_entropy" else jnp.array([[1, 1, -1], [-1, 1, -1]])
    value, gradient = jax.value_and_grad(loss)(logits, targets)
    assert value.dtype == dtype
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()


def test_saturated_cross_entropy_is_the_logit_gap():
    logits = jnp.array([[1e4, -1e4]])
    assert losses.cross_entropy(logits, jnp.array([1])) == 2e4
    assert losses.cross_entropy(logits, jnp.array([0])) == 0


def test_huber_is_finite_where_the_square_overflows():
    value, gradient = jax.value_and_grad(losses.huber)(jnp.array([1e30]), jnp.zeros(1))
    assert jnp.isfinite(value)
    assert gradient.tolist() == [1.0]


def test_huber_tends_to_half_mse_for_a_large_delta():
    f = jnp.linspace(-3, 3, 7)
    np.testing.assert_allclose(losses.huber(f, 0 * f, delta=1e3), losses.half_mse(f, 0 * f), rtol=1e-6)


def test_labels_out_of_range_give_nan_rather_than_a_wrong_loss():
    logits = jnp.zeros((2, 3))
    assert jnp.isnan(losses.cross_entropy(logits, jnp.array([0, 3])))
    assert jnp.isnan(losses.cross_entropy(logits, jnp.array([0, -1])))


@pytest.mark.parametrize("name", ["cross_entropy", *REGRESSION, *MARGIN])
def test_losses_are_convex_in_the_outputs(name):
    loss = getattr(losses, name)
    rng = np.random.default_rng(3)
    y = rng.integers(0, 4, 3) if name == "cross_entropy" else rng.choice([-1.0, 1.0], (3, 4))
    with jax.enable_x64(True):
        on_segment = jax.vmap(lambda a, b, t: loss((1 - t) * a + t * b, y))
        a, b = 3 * rng.standard_normal((2, 200, 3, 4))
        t = rng.random(200)
        ends = on_segment(a, b, np.zeros(200)), on_segment(a, b, np.ones(200))
        assert (on_segment(a, b, t) <= (1 - t) * ends[0] + t * ends[1] + 1e-12).all()
