import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("double_precision")


def test_labels_have_mean_square_one_where_units_are_orthogonal_enough(paper):
    config = paper.Config(num_units=1, num_train=2, num_test=20_000)
    x, y, x_test, y_test = paper.task(config, jax.random.key(0))
    assert (x.shape, y.shape) == ((2, 10), (2, 1))
    np.testing.assert_allclose((x_test**2).sum(1), 10, rtol=1e-12)
    assert float(jnp.mean(y_test**2)) == pytest.approx(1, abs=0.05)


def test_the_student_is_homogeneous_of_degree_two(paper):
    model = paper.network(6, "relu")
    x = jax.random.normal(jax.random.key(0), (3, 4))
    params = model.init(jax.random.key(1), x)
    scaled = jax.tree.map(lambda leaf: leaf * 3, params)
    np.testing.assert_allclose(model.apply(scaled, x), 9 * model.apply(params, x), rtol=1e-12)


def test_the_distance_is_that_of_all_parameters(paper):
    one, other = {"a": jnp.ones(2), "b": jnp.zeros((2, 1))}, {"a": jnp.zeros(2), "b": jnp.ones((2, 1))}
    assert float(paper.distance(one, other)) == pytest.approx(2)


def test_the_linearised_twin_ends_where_gradient_descent_of_its_kernel_does(paper):
    import dlmath as dm

    config = paper.Config(width=8, num_train=6, num_test=5, num_steps=30)
    key = jax.random.key(2)
    x, y, x_test, y_test = data = paper.task(config, jax.random.key(3))
    found = paper.compare(
        key[None], paper.network(8, "gelu"), jax.tree.map(lambda leaf: leaf[None], data), 50.0, 0.5, config.num_steps
    )
    params = paper.network(8, "gelu").init(key, x)
    theta = dm.ntk.empirical(paper.network(8, "gelu").apply, params, jnp.concatenate([x, x_test]), outputs="trace")
    rate = 0.5 * dm.ntk.max_learning_rate(theta[:6, :6])
    _, new = dm.ntk.gradient_descent(theta[:6, :6], y, 30.0, theta_new=theta[6:, :6], learning_rate=rate)
    expected = jnp.mean((new - y_test) ** 2) / jnp.mean(y_test**2)
    assert float(found["linear_test_error"][0]) == pytest.approx(float(expected), rel=1e-9)
