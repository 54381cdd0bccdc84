import functools
import json
import os
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm
from dlmath import hessian

SETTINGS = [
    ("mlp", "cross_entropy"),
    ("mlp", "half_mse"),
    ("mlp without bias", "cross_entropy"),
    ("mlp without bias", "mse"),
    ("cnn", "cross_entropy"),
    ("cnn", "mse"),
    ("cnn without bias", "cross_entropy"),
    ("cnn without bias", "half_mse sum"),
]


@pytest.mark.parametrize(("network", "loss"), SETTINGS)
def test_products_are_those_of_the_matrix_of_second_derivatives(problem, matrix, exact_hessian, network, loss):
    p = problem(network, loss)
    op = hessian.operator(p.objective, p.params, p.x, p.y)
    exact = exact_hessian(p.objective, p.params, p.x, p.y)
    assert op.size == dm.models.count_parameters(p.params) <= 2000
    assert np.abs(matrix(op) - exact).max() <= 1e-13 * np.abs(exact).max()
    assert np.abs(matrix(hessian.linearized(op)) - exact).max() <= 1e-13 * np.abs(exact).max()


@pytest.mark.parametrize(("a", "b", "x", "y"), [(1.0, 2.0, 1.0, 0.0), (-0.5, 3.0, 0.7, 2.0), (0.0, 0.0, 1.0, 1.0)])
def test_two_weight_network_has_its_closed_form(float64, matrix, a, b, x, y):
    objective = lambda p, x, y: 0.5 * (p["a"] * p["b"] * x - y) ** 2
    params = {"a": jnp.asarray(a), "b": jnp.asarray(b)}
    mixed = 2 * a * b * x**2 - x * y
    expected = [[b**2 * x**2, mixed], [mixed, a**2 * x**2]]
    np.testing.assert_allclose(matrix(hessian.operator(objective, params, x, y)), expected, atol=1e-14)


def test_a_block_of_layers_is_the_block_of_the_matrix(problem, matrix, exact_hessian):
    p = problem("mlp", "cross_entropy")
    exact = exact_hessian(p.objective, p.params, p.x, p.y)
    sizes = [leaf.size for leaf in jax.tree.leaves(p.params[0])]
    first = dm.linalg.restrict(hessian.operator(p.objective, p.params, p.x, p.y), lambda path: path.startswith("0"))
    assert first.size == sum(sizes)
    np.testing.assert_allclose(matrix(first), exact[: first.size, : first.size], atol=1e-13)


def test_a_layer_alone_is_the_hessian_in_it_with_the_others_as_data(problem, matrix, exact_hessian):
    p = problem("mlp", "half_mse")
    exact = exact_hessian(p.objective, p.params, p.x, p.y)
    rest = p.params[1:]
    op = hessian.operator(lambda first, rest, x, y: p.objective((first, *rest), x, y), p.params[0], rest, p.x, p.y)
    np.testing.assert_allclose(matrix(op), exact[: op.size, : op.size], atol=1e-13)


def test_float32_products_are_accurate_to_float32(problem, matrix, exact_hessian):
    p = problem("mlp", "cross_entropy")
    exact = exact_hessian(p.objective, p.params, p.x, p.y)
    params, x = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (p.params, p.x))
    op = hessian.operator(p.objective, params, x, p.y)
    assert op.dtype == jnp.float32
    assert np.abs(matrix(op) - exact).max() <= 30 * np.finfo(np.float32).eps * np.abs(exact).max()


def test_a_second_checkpoint_traces_and_compiles_nothing(problem):
    p = problem("mlp", "half_mse")
    traces = []

    def apply(params, x):
        traces.append("apply")
        return p.apply(params, x)

    def objective(params, x, y):
        return p.loss(apply(params, x), y)

    @jax.jit
    def use(op, vector):
        traces.append("program")
        return op(op(vector))

    for scale in (1.0, 2.0, 3.0):
        params = jax.tree.map(lambda leaf, scale=scale: scale * leaf, p.params)
        op = hessian.operator(objective, params, p.x, p.y)
        use(op, params), use(hessian.linearized(op), params)
        # Bound anew for every checkpoint, as in a loop over settings.
        bound = functools.partial(dm.train.losses.mse, reduction="sum")
        use(hessian.ggn(apply, bound, params, p.x, p.y), params)
        use(hessian.fisher(apply, bound, params, p.x, p.y, kind="empirical"), params)
        if scale == 1.0:
            first = list(traces)
    assert traces == first
    assert first.count("program") == 4


def test_operators_can_be_made_and_linearised_inside_a_compiled_program(problem):
    p = problem("mlp", "cross_entropy")

    @jax.jit
    def twice(params, x, y, vector):
        op = hessian.linearized(hessian.operator(p.objective, params, x, y))
        return op(op(vector))

    op = hessian.operator(p.objective, p.params, p.x, p.y)
    found, expected = twice(p.params, p.x, p.y, p.params), op(op(p.params))
    chex.assert_trees_all_close(found, expected, rtol=1e-12, atol=1e-14)


def test_operators_of_an_ensemble_are_a_vmap_away(problem):
    p = problem("mlp", "cross_entropy")
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), p.params)
    product = lambda params, vector: hessian.operator(p.objective, params, p.x, p.y)(vector)
    both = jax.vmap(product, (0, None))(stacked, p.params)
    second = product(jax.tree.map(lambda leaf: 2 * leaf, p.params), p.params)
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[1], both), second, rtol=1e-12, atol=1e-14)


def test_arrays_bound_to_an_objective_are_arguments_of_its_program(float64):
    traces = []

    def objective(scale, p):
        traces.append(scale)
        return jnp.sum(scale * p**2)

    for scale in (1.0, 2.0):
        op = hessian.operator(functools.partial(objective, jnp.asarray(scale)), jnp.ones(2))
        assert op(jnp.ones(2)).tolist() == [2 * scale, 2 * scale]
    assert len(traces) == 2  # the value and the gradient, both of the first objective


FOUR_DEVICES = """
import json
import jax, jax.numpy as jnp, numpy as np
import dlmath as dm
from dlmath import hessian, sharding

rng = np.random.default_rng(0)
model = dm.models.mlp([8], 3, activation="tanh")
x, y = jnp.asarray(rng.normal(size=(24, 5))), jnp.asarray(rng.integers(0, 3, 24))
params = model.init(jax.random.key(0), x)
loss = dm.train.losses.cross_entropy

def objective(params, x, y):
    return loss(model.apply(params, x), y)

def make(params, x, y):
    return hessian.operator(objective, params, x, y)

makers = {
    "hessian": lambda p, x, y: hessian.operator(objective, p, x, y),
    "ggn": lambda p, x, y: hessian.ggn(model.apply, loss, p, x, y),
    "empirical": lambda p, x, y: hessian.fisher(model.apply, loss, p, x, y, kind="empirical"),
    "batches": lambda p, x, y: hessian.over_batches(make, p, x, y, batch_size=8),
    "linearized": lambda p, x, y: hessian.linearized(hessian.operator(objective, p, x, y)),
}
found = {"devices": len(sharding.shard(x).devices())}
spread = (sharding.replicate(params), sharding.shard(x), sharding.shard(y))
for name, maker in makers.items():
    v = sharding.replicate(params)
    one, four = maker(params, x, y), maker(*spread)
    a, b = np.asarray(one.ravel(one(params))), np.asarray(four.ravel(four(v)))
    found[name] = float(np.abs(a - b).max() / np.abs(a).max())
text = jax.jit(lambda op, v: op(v)).lower(makers["batches"](*spread), v).compile().as_text()
found["gathers"] = "all-gather" in text
print(json.dumps(found))
"""


def test_data_split_over_four_devices_give_the_same_products_and_stay_where_they_are():
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "true",
        "NPROC": "16",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4",
    }
    run = subprocess.run(
        [sys.executable, "-c", FOUR_DEVICES], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert found.pop("devices") == 4
    assert not found.pop("gathers")
    assert max(found.values()) <= 1e-13, found
