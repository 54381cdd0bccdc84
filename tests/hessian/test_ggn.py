import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm
from dlmath import hessian

EVERY_LOSS = ["mse", "mse sum", "half_mse", "half_mse sum", "cross_entropy", "cross_entropy sum", "logistic", "huber"]


def outputs_hessian(p):
    """S = ∇²_f loss, [n·o, n·o]."""
    outputs = p.apply(p.params, p.x)
    flat = outputs.reshape(-1)
    return np.asarray(jax.hessian(lambda f: p.loss(f.reshape(outputs.shape), p.y))(flat))


@pytest.mark.parametrize("network", ["mlp", "cnn", "mlp without bias", "cnn without bias"])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_products_are_those_of_the_three_matrices(problem, matrix, jacobian, network, loss):
    p = problem(network, loss)
    J = jacobian(p.apply, p.params, p.x)
    expected = J.T @ outputs_hessian(p) @ J
    found = matrix(hessian.ggn(p.apply, p.loss, p.params, p.x, p.y))
    assert np.abs(found - expected).max() <= 1e-13 * np.abs(expected).max()


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_spectrum_is_that_of_the_matrix_on_outputs(problem, matrix, jacobian, loss):
    p = problem("mlp", loss)
    J, S = jacobian(p.apply, p.params, p.x), outputs_hessian(p)
    values, vectors = np.linalg.eigh(S)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    on_outputs = np.linalg.eigvalsh(root @ J @ J.T @ root)[::-1]
    on_params = np.linalg.eigvalsh(matrix(hessian.ggn(p.apply, p.loss, p.params, p.x, p.y)))[::-1]
    assert on_outputs[0] > 0
    np.testing.assert_allclose(on_params[: len(on_outputs)], on_outputs, atol=1e-12 * on_outputs[0])
    np.testing.assert_allclose(on_params[len(on_outputs) :], 0, atol=1e-12 * on_outputs[0])


@pytest.mark.parametrize(
    ("loss", "factor"),
    [("mse", 2 / 14), ("mse sum", 2.0), ("half_mse", 1 / 14), ("half_mse sum", 1.0)],
)
def test_squared_errors_scale_the_neural_tangent_kernel_by_the_factor_of_their_reduction(
    problem, matrix, jacobian, loss, factor
):
    p = problem("mlp", loss, num_rows=14)
    J = jacobian(p.apply, p.params, p.x)
    kernel = np.linalg.eigvalsh(J @ J.T)[::-1]
    found = np.linalg.eigvalsh(matrix(hessian.ggn(p.apply, p.loss, p.params, p.x, p.y)))[::-1]
    np.testing.assert_allclose(found[: len(kernel)], factor * kernel, atol=1e-12 * factor * kernel[0])


def test_hinge_loss_is_piecewise_linear_and_has_no_curvature(problem, matrix):
    p = problem("mlp", "hinge")
    assert not matrix(hessian.ggn(p.apply, p.loss, p.params, p.x, p.y)).any()


@pytest.mark.parametrize("rank", [2, 4, 6])
def test_softmax_regression_has_rank_classes_less_one_times_rank_of_inputs(float64, matrix, rank):
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(20, rank)) @ rng.normal(size=(rank, 6)))
    y = jnp.asarray(rng.integers(0, 4, 20))
    w = jnp.asarray(rng.normal(size=(6, 4)))
    values = np.linalg.eigvalsh(matrix(hessian.ggn(lambda w, x: x @ w, dm.train.losses.cross_entropy, w, x, y)))
    assert (values > 1e-12 * values[-1]).sum() == (4 - 1) * rank
    assert values[0] > -1e-14 * values[-1]


def test_rank_is_points_times_classes_less_one(problem, matrix):
    p = problem("mlp", "cross_entropy", num_rows=20)
    values = np.linalg.eigvalsh(matrix(hessian.ggn(p.apply, p.loss, p.params, p.x, p.y)))
    assert (values > 1e-12 * values[-1]).sum() == 20 * (3 - 1)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "logistic"])
def test_equals_the_hessian_of_a_linear_model(float64, matrix, loss):
    rng = np.random.default_rng(2)
    x, w = jnp.asarray(rng.normal(size=(9, 5))), jnp.asarray(rng.normal(size=(5, 3)))
    y = jnp.asarray(rng.integers(0, 3, 9) if loss == "cross_entropy" else rng.choice([-1.0, 1.0], size=(9, 3)))
    loss, apply = getattr(dm.train.losses, loss), lambda w, x: x @ w
    full = hessian.operator(lambda w, x, y: loss(apply(w, x), y), w, x, y)
    np.testing.assert_allclose(matrix(hessian.ggn(apply, loss, w, x, y)), matrix(full), atol=1e-13)


def test_equals_the_hessian_where_a_network_fits_its_targets(problem, matrix, exact_hessian):
    p = problem("mlp", "mse")
    y = p.apply(p.params, p.x)
    exact = exact_hessian(p.objective, p.params, p.x, y)
    found = matrix(hessian.linearized(hessian.ggn(p.apply, p.loss, p.params, p.x, y)))
    np.testing.assert_allclose(found, exact, atol=1e-12 * np.abs(exact).max())


def test_recurrent_networks_with_one_output_for_each_example(float64, matrix, jacobian):
    model = dm.models.rnn(5, 1)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3, 2)))
    params = model.init(jax.random.key(0), x)
    y = jnp.zeros(4)
    apply = lambda params, x: model.apply(params, x)[:, 0]
    J = jacobian(apply, params, x)
    found = matrix(hessian.ggn(apply, dm.train.losses.half_mse, params, x, y))
    np.testing.assert_allclose(found, J.T @ J / 4, atol=1e-13)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_float32_products_are_accurate_to_float32(problem, matrix, loss):
    p = problem("mlp", loss)
    params, x, y = jax.tree.map(lambda a: a.astype(jnp.float32) if a.dtype.kind == "f" else a, (p.params, p.x, p.y))
    for make in (hessian.ggn, lambda *arguments: hessian.fisher(*arguments, kind="empirical")):
        exact = matrix(make(p.apply, p.loss, p.params, p.x, p.y))
        op = make(p.apply, p.loss, params, x, y)
        assert op.dtype == jnp.float32
        assert np.abs(matrix(op) - exact).max() <= 30 * np.finfo(np.float32).eps * np.abs(exact).max()
