import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import dlmath as dm

pytestmark = pytest.mark.usefixtures("double_precision")


def test_the_closed_form_is_gradient_descent_on_the_linearised_network(paper):
    model = paper.network("erf", 6, 2)
    x, y, x_test = (
        jax.random.normal(jax.random.key(seed), shape) for seed, shape in enumerate([(5, 3), (5, 1), (4, 3)])
    )
    start = model.init(jax.random.key(3), x)
    stacked = jax.tree.map(lambda leaf: leaf[None], start)
    kernel, new, f, f_new = (a[0] for a in paper.at(model, stacked, x, x_test))
    line = dm.ntk.linearize(model.apply, start)
    params = start
    for _ in range(3):
        gradient = jax.grad(lambda params: dm.train.losses.half_mse(line(params, x), y))(params)
        params = jax.tree.map(lambda p, g: p - 0.2 * g, params, gradient)
    found = paper.linearized(kernel, new, y, f, f_new, 0.2, 3)
    np.testing.assert_allclose(found, line(params, x_test), rtol=1e-9)


def test_movement_is_relative_to_the_norm_of_each_layer(paper):
    before = [{"weight": np.full((1, 2, 2), 3.0)}, {"weight": np.full((1, 2, 1), 1.0)}]
    after = [{"weight": np.full((1, 2, 2), 3.3)}, {"weight": np.full((1, 2, 1), 0.5)}]
    np.testing.assert_allclose(paper.moved(before, after), [[0.1, 0.5]])


def test_images_are_zeros_and_ones_of_mean_square_one(paper):
    x, y, x_test = paper.task(paper.Config())
    assert float(jnp.mean(x**2)) == pytest.approx(1, rel=1e-5)
    assert sorted({float(target) for target in y[:, 0]}) == [-1.0, 1.0]
    assert len(x_test) == paper.Config().num_test


def test_the_slope_of_a_power_is_its_exponent(paper):
    widths = np.array([10.0, 20.0, 80.0])
    values = xr.DataArray([widths**-0.7, 5 * widths**-1.0], {"width": widths}, ("seed", "width"))
    np.testing.assert_allclose(paper.slope(values), [-0.7, -1.0])


def test_the_largest_stable_step_is_the_last_before_the_first_rise(paper):
    rise = xr.DataArray(
        [[1.0, 1.0, 1.2, 1.0], [1.0, 2.0, 3.0, 9.0]], {"scaled_rate": [0.8, 0.9, 1.0, 1.1]}, ("seed", "scaled_rate")
    )
    assert paper.largest_stable(rise).values.tolist() == [0.9, 0.8]
