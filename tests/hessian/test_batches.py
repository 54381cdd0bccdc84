import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, eigsh

from dlmath import hessian


def makers(p):
    return {
        "hessian": lambda params, x, y: hessian.operator(p.objective, params, x, y),
        "ggn": lambda params, x, y: hessian.ggn(p.apply, p.loss, params, x, y),
        "empirical": lambda params, x, y: hessian.fisher(p.apply, p.loss, params, x, y, kind="empirical"),
    }


def close(found, expected, tolerance):
    return np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["hessian", "ggn", "empirical"])
@pytest.mark.parametrize(("loss", "reduction"), [("cross_entropy", "mean"), ("half_mse sum", "sum")])
def test_sums_over_batches_are_the_operator_of_all_data(problem, matrix, kind, loss, reduction):
    p = problem("mlp", loss, num_rows=14)
    make = makers(p)[kind]
    expected = matrix(make(p.params, p.x, p.y))
    for batch_size in (4, 7, 50):
        op = hessian.over_batches(make, p.params, p.x, p.y, batch_size=batch_size, reduction=reduction)
        assert close(matrix(op), expected, 1e-14)


def test_batches_from_the_host_give_the_same_products(problem):
    p = problem("mlp", "cross_entropy", num_rows=14)
    make = makers(p)["hessian"]
    rows = [np.arange(0, 5), np.arange(5, 10), np.arange(10, 14)]
    batches = [(np.asarray(p.x)[i], np.asarray(p.y)[i]) for i in rows]
    whole = make(p.params, p.x, p.y)
    expected = np.asarray(whole.ravel(whole(p.params)))
    for source in (batches, lambda: iter(batches)):
        op = hessian.over_host_batches(make, p.params, source)
        assert close(np.asarray(op.ravel(op(p.params))), expected, 1e-14)


def test_products_from_the_host_serve_solvers_of_the_host(problem, exact_hessian):
    p = problem("mlp", "cross_entropy", num_rows=14)
    batches = [(p.x[:7], p.y[:7]), (p.x[7:], p.y[7:])]
    op = hessian.over_host_batches(makers(p)["hessian"], p.params, batches)
    linear = LinearOperator((op.size,) * 2, lambda v: np.asarray(op.flat(jnp.asarray(v.ravel()))), dtype=op.dtype)
    found = eigsh(linear, 1, return_eigenvectors=False, v0=np.ones(op.size))
    assert np.isclose(found[0], np.linalg.eigvalsh(exact_hessian(p.objective, p.params, p.x, p.y))[-1], rtol=1e-10)


def test_float32_sums_agree_to_the_stated_tolerance(problem, matrix):
    p = problem("mlp", "cross_entropy", num_rows=14)
    params, x = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (p.params, p.x))
    make = makers(p)["hessian"]
    expected = matrix(make(params, x, p.y))
    norm = np.linalg.norm(expected, 2)
    found = matrix(hessian.over_batches(make, params, x, p.y, batch_size=1))
    assert np.linalg.norm(found - expected, 2) <= 8 * np.finfo(np.float32).eps * np.sqrt(14) * norm


def test_a_batched_operator_can_be_linearised_and_compiled(problem, matrix):
    p = problem("mlp", "cross_entropy", num_rows=14)
    make = makers(p)["ggn"]
    op = hessian.over_batches(make, p.params, p.x, p.y, batch_size=4)
    assert close(matrix(hessian.linearized(op)), matrix(op), 1e-14)


def test_other_checkpoints_and_data_compile_nothing(problem):
    p = problem("mlp", "cross_entropy", num_rows=14)
    make, traces = makers(p)["hessian"], []

    @jax.jit
    def use(op, vector):
        traces.append(op)
        return op(vector)

    for scale in (1.0, 2.0):
        params = jax.tree.map(lambda leaf, scale=scale: scale * leaf, p.params)
        use(hessian.over_batches(make, params, p.x * scale, p.y, batch_size=4), params)
    assert len(traces) == 1
    use(hessian.over_batches(make, p.params, p.x, p.y, batch_size=5), p.params)
    assert len(traces) == 2


def test_a_maker_with_bound_settings_is_taken_by_value(problem):
    p = problem("mlp", "cross_entropy", num_rows=14)
    op = lambda: hessian.over_batches(
        functools.partial(hessian.operator, p.objective), p.params, p.x, p.y, batch_size=7
    )
    assert jax.tree.structure(op()) == jax.tree.structure(op())
