"""Slices and paths in closed form, and directions that follow the scale of the network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm
from dlmath import hessian

KEY = jax.random.key(3)
X = np.random.default_rng(0).standard_normal((10, 3))
Y = np.random.default_rng(1).standard_normal((10, 1))


def quadratic(w, matrix, b):
    return 0.5 * w @ matrix @ w + b @ w


def problem(dtype=float):
    rng = np.random.default_rng(2)
    matrix = rng.standard_normal((4, 4))
    return [jnp.asarray(a, dtype) for a in (rng.standard_normal(4), matrix + matrix.T, rng.standard_normal(4))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_line_through_a_quadratic_is_a_parabola(dtype):
    with jax.enable_x64(dtype == np.float64):
        w, matrix, b = problem(dtype)
        d = jnp.arange(4.0, dtype=dtype)
        steps = np.linspace(-2, 2, 9, dtype=dtype)
        line = hessian.slice_1d(quadratic, w, matrix, b, direction=d, steps=steps)
        slope, curvature = (matrix @ w + b) @ d, d @ matrix @ d
        expected = quadratic(w, matrix, b) + steps * slope + 0.5 * steps**2 * curvature
        assert line.values.dtype == dtype
        np.testing.assert_allclose(line.values, expected, rtol=1e-5 if dtype == np.float32 else 1e-12)


def test_a_plane_has_the_first_direction_along_its_rows():
    with jax.enable_x64(True):
        w, matrix, b = problem()
        d1, d2 = jnp.eye(4)[1], jnp.array([1.0, 0, -1, 2])
        s1, s2 = np.linspace(-1, 1, 3), np.linspace(0, 2, 5)
        plane = hessian.slice_2d(quadratic, w, matrix, b, directions=(d1, d2), steps=(s1, s2))
        expected = [[quadratic(w + a * d1 + c * d2, matrix, b) for c in s2] for a in s1]
        np.testing.assert_allclose(plane.values, expected, rtol=1e-12)
        np.testing.assert_array_equal(plane.steps[1], s2)
        same = hessian.slice_2d(quadratic, w, matrix, b, directions=(d1, d2), steps=s1)
        np.testing.assert_allclose(same.values[2, 0], quadratic(w + d1 - d2, matrix, b), rtol=1e-12)


def test_the_barrier_of_a_double_well_is_its_maximum_above_the_minima():
    well = lambda w, a: jnp.sum((w**2 - a**2) ** 2)
    path = hessian.interpolate(well, jnp.array([-2.0]), jnp.array([2.0]), 2.0, num_points=31)
    np.testing.assert_allclose(path.barrier, 16, rtol=1e-6)
    np.testing.assert_allclose(path.instability, 16, rtol=1e-6)
    np.testing.assert_allclose(path.values, (np.square(4 * np.linspace(0, 1, 31) - 2) - 4) ** 2, atol=1e-4)


def test_a_convex_function_has_no_barrier_and_a_linear_one_half_its_rise_of_instability():
    convex = hessian.interpolate(lambda w: jnp.sum(w**2), jnp.zeros(3), jnp.ones(3), num_points=9)
    assert convex.barrier == 0
    np.testing.assert_allclose(convex.instability, 1.5, rtol=1e-6)
    concave = hessian.interpolate(lambda w: -jnp.sum(w**2), jnp.array(-1.0), jnp.array(3.0), num_points=9)
    # −(4t − 1)² above its chord −1 − 8t is 16t(1 − t), at most 4.
    np.testing.assert_allclose(concave.barrier, 4, rtol=1e-6)


def test_a_path_meets_both_ends_exactly():
    a, b = jnp.array([0.1, 1e8]), jnp.array([1.7, -3e-7])
    path = hessian.interpolate(lambda w: w[0] + w[1], a, b, num_points=7)
    assert path.values[0] == a.sum()
    assert path.values[-1] == b.sum()


def convolutional():
    model = dm.models.cnn([4], 2)
    return model.init(jax.random.key(0), jnp.ones((1, 6, 6, 3)))


def test_filters_of_a_direction_have_the_norms_of_the_filters_of_the_network():
    params = convolutional()
    direction = hessian.random_direction(KEY, params)
    weights = [(w, d) for w, d in zip(jax.tree.leaves(params), jax.tree.leaves(direction), strict=True) if w.ndim > 1]
    assert {w.ndim for w, _ in weights} == {2, 4}
    for w, d in weights:
        of_filters = lambda leaf: np.linalg.norm(np.asarray(leaf).reshape(-1, leaf.shape[-1]), axis=0)
        np.testing.assert_allclose(of_filters(d), of_filters(w), rtol=1e-5)
        assert np.abs(d - w).max() > 1e-3


def test_layers_of_a_direction_have_the_norms_of_the_layers():
    params = {"w": 3 * jnp.ones((2, 8)), "b": jnp.array([3.0, 4.0])}
    direction = hessian.random_direction(KEY, params, normalise="layer", biases="scale")
    np.testing.assert_allclose(np.linalg.norm(direction["w"]), 12, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(direction["b"]), 5, rtol=1e-6)
    columns = np.linalg.norm(direction["w"], axis=0)
    assert columns.std() > 0.1


def test_filters_are_counted_along_the_axis_that_is_given():
    w = jnp.arange(6.0).reshape(2, 3) + 1
    rows = hessian.random_direction(KEY, w, filter_axis=0)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.linalg.norm(w, axis=1), rtol=1e-6)


def test_biases_do_not_move_unless_asked():
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    assert not hessian.random_direction(KEY, params)["b"].any()
    assert hessian.random_direction(KEY, params, biases="scale")["b"].all()
    assert hessian.random_direction(KEY, params, normalise="none")["b"].all()


@pytest.mark.parametrize("normalise", ["filter", "layer"])
@pytest.mark.parametrize("biases", ["zero", "scale"])
def test_normalised_slices_do_not_change_when_relu_layers_are_rescaled(normalise, biases):
    model = dm.models.mlp([6], 1, bias_std=0.5)
    objective = lambda params: dm.train.losses.mse(model.apply(params, X), Y)

    def curve(params):
        direction = hessian.random_direction(KEY, params, normalise=normalise, biases=biases)
        return hessian.slice_1d(objective, params, direction=direction, steps=np.linspace(-1, 1, 7)).values

    with jax.enable_x64(True):
        params = model.init(jax.random.key(0), X)
        np.testing.assert_allclose(curve(hessian.dinh_rescaling(params, 10.0)), curve(params), rtol=1e-10)
        # The direction must belong to the rescaled network: without normalisation the slices differ.
        plain = hessian.random_direction(KEY, params, normalise="none")
        moved = [
            hessian.slice_1d(objective, p, direction=plain, steps=[1.0]).values[0]
            for p in (params, hessian.dinh_rescaling(params, 10.0))
        ]
        assert abs(moved[0] - moved[1]) > 1e-2


def test_other_data_and_another_network_compile_nothing():
    traces = []

    def objective(w, x):
        traces.append(1)
        return jnp.sum((x @ w) ** 2)

    call = lambda w, x: hessian.slice_1d(objective, w, x, direction=w, steps=np.arange(3.0))
    x = np.ones((10, 3))
    call(jnp.ones(3), x)
    count = len(traces)
    call(2 * jnp.ones(3), x + 1)
    assert len(traces) == count
