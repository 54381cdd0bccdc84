"""Arrays over several devices, and one program in several processes, give what one device gives."""

import json
import os
import socket
import subprocess
import sys
from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlmath import sharding

ENVIRONMENT = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "true"}


def with_devices(number):
    # NPROC: virtual devices share XLA's pool of threads, and a pool as small as two may wait for itself for ever.
    return {
        **ENVIRONMENT,
        "NPROC": "16",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={number}",
    }


FOUR_DEVICES = """
import json
import jax, jax.numpy as jnp, numpy as np, optax, dlmath as dm
from dlmath import sharding

parts = lambda x: len({str(s.index) for s in x.addressable_shards})
found = {"parts": {n: parts(sharding.shard(jnp.zeros((n, 2)))) for n in (1, 2, 6, 7, 8, 20)}}
found["devices"] = {n: len(sharding.shard(jnp.zeros(n)).devices()) for n in (1, 7, 8)}
found["copies"] = parts(sharding.replicate(np.zeros(8)))
found["scalar"] = parts(sharding.shard(jnp.zeros(())))
found["under jit"] = parts(jax.jit(sharding.shard)(jnp.zeros(8)))

keys = jax.random.split(jax.random.key(0), 8)
draw = jax.vmap(lambda key: jax.random.normal(key, (5, 5)))
spread = sharding.shard(keys)
found["keys"] = parts(spread)
a, b = draw(keys), draw(spread)
found["draws"] = [parts(b), bool((np.asarray(a) == sharding.gather(b)).all())]
found["meeting"] = parts(jax.jit(lambda x, y: x[:, None] + y)(sharding.shard(jnp.ones(8)), sharding.shard(jnp.ones(6))))

gram = lambda a: a @ a.T + jnp.eye(5)
for name, f in {"cholesky": jnp.linalg.cholesky, "eigh": lambda a: jnp.linalg.eigh(a)[0], "svd": jnp.linalg.svd}.items():
    program = jax.jit(jax.vmap(lambda a: f(gram(a))))
    found[name] = [parts(jax.tree.leaves(program(b))[0]), "all-gather" in program.lower(b).compile().as_text()]

def train(keys):
    x = np.random.default_rng(0).normal(size=(32, 8))
    model = dm.models.mlp([16], 1, activation="tanh", parameterization="standard")
    params = jax.vmap(model.init, (0, None))(keys, x)
    fit = dm.train.fit_ensemble
    return fit(keys, model.apply, dm.train.losses.mse, params, (x, x[:, :1]), optax.sgd(0.1), num_steps=30, batch_size=8)

one, four = train(keys), train(spread)
found["training"] = [parts(four.loss), parts(jax.tree.leaves(four.params)[0])]
found["loss"] = float(np.abs(sharding.gather(four.loss) / np.asarray(one.loss) - 1).max())

x = np.random.default_rng(0).normal(size=(32, 8))
model = dm.models.mlp([16], 1, activation="tanh", parameterization="standard")
params = model.init(keys[0], x)
fit = lambda x: dm.train.fit(keys[0], model.apply, dm.train.losses.mse, params, (x, x[:, :1]), optax.sgd(0.1), num_steps=30)
found["data loss"] = float(np.abs(sharding.gather(fit(sharding.shard(x)).loss) / np.asarray(fit(x).loss) - 1).max())
slope = jax.jit(jax.grad(lambda p, x: dm.train.losses.mse(model.apply(p, x), x[:, :1])))
# Minibatches over devices: the data everywhere, and every minibatch divided where it is augmented.
batched = lambda data, augment: dm.train.fit(
    keys[0], model.apply, dm.train.losses.mse, params, data, optax.sgd(0.1), num_steps=30, batch_size=8, augment=augment)
data, divided = (x, x[:, :1]), lambda key, x: sharding.shard(x)
many = batched(sharding.replicate(data), divided)
found["minibatch loss"] = float(np.abs(sharding.gather(many.loss) / np.asarray(batched(data, None).loss) - 1).max())
found["data summed"] = "all-reduce" in slope.lower(params, sharding.shard(x)).compile().as_text()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def four():
    done = subprocess.run(
        [sys.executable, "-c", FOUR_DEVICES], env=with_devices(4), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_on_one_device_nothing_is_copied():
    tree = {"keys": jax.random.split(jax.random.key(0), 4), "x": np.ones(3), "name": "train"}
    for function in (sharding.shard, sharding.replicate):
        assert all(function(tree)[name] is tree[name] for name in tree)
    assert not sharding.is_sharded(tree)


def test_an_axis_is_split_in_the_greatest_common_divisor_of_its_length_and_the_devices(four):
    assert four["parts"] == {"1": 1, "2": 2, "6": 2, "7": 1, "8": 4, "20": 4}
    assert four["keys"] == 4
    assert (four["copies"], four["scalar"], four["under jit"]) == (1, 1, 4)


def test_every_device_holds_a_part_or_a_copy(four):
    assert set(four["devices"].values()) == {4}


def test_arrays_of_different_lengths_meet_in_one_program(four):
    assert four["meeting"] >= 2


def test_what_is_computed_for_every_seed_stays_where_the_seed_is(four):
    assert four["draws"] == [4, True]
    assert [four[name] for name in ("cholesky", "eigh", "svd")] == [[4, False]] * 3


def test_an_ensemble_trains_on_all_devices_as_on_one(four):
    assert four["training"] == [4, 4]
    assert four["loss"] < 1e-10


def test_a_network_trains_on_data_spread_over_all_devices_as_on_one(four):
    assert four["data summed"]  # each device differentiates its part, and the gradients are added
    assert four["data loss"] < 1e-10


def test_minibatches_divided_over_all_devices_train_as_on_one(four):
    assert four["minibatch loss"] < 1e-10


def test_gather_gives_numpy_arrays_and_leaves_the_rest_alone():
    found = sharding.gather({"x": (("seed",), jnp.arange(3)), "y": 1.5})
    assert found["x"][0] == ("seed",)
    assert type(found["x"][1]) is np.ndarray
    assert found["y"] == 1.5


@pytest.mark.parametrize("function", [sharding.shard, sharding.replicate])
def test_placement_is_lowered_for_accelerators(function):
    traced = jax.jit(lambda x: function(x) + 1).trace(jnp.zeros(4))
    assert traced.lower(lowering_platforms=("cuda", "tpu"))


PROCESS = """
import json, sys
from dlmath import sharding
port, process = sys.argv[1], int(sys.argv[2])
if port != "0":
    sharding.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=process)
import jax, jax.numpy as jnp, numpy as np
from dlmath import repro
from dlmath.repro import _hosts

@jax.jit
def risk(keys, scale):
    def one(key):
        x = scale * jax.random.normal(key, (6, 3))
        return jnp.linalg.inv(x.T @ x).trace()
    return jax.vmap(one)(keys)

def compute(unit):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(unit["seed"]), np.arange(8))
    found = risk(sharding.shard(keys), jnp.asarray(2.0))
    parts = len({str(index) for index in found.sharding.devices_indices_map(found.shape).values()})
    return {"parts": parts, "risk": sharding.gather(found).tolist()}

units = [{"seed": 1}, {"seed": 2, "note": "x" * 1000}]
if port == "0":
    results = list(repro.local(units, compute))
elif process == 0:
    results = list(_hosts.lead(units, compute))
    _hosts.dismiss()
else:
    results = _hosts.follow(compute)
print(json.dumps(results))
"""


def processes(*arguments):
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, *map(str, each)],
            env=with_devices(2),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for each in arguments
    ]
    outputs = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0] * len(running), outputs
    return [json.loads(out.splitlines()[-1]) for out, _ in outputs]


def test_two_processes_compute_a_unit_together_as_one_does():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    together, count, alone = processes((port, 0), (port, 1), (0, 0))
    assert count == 2
    assert [unit for unit, _ in together] == [unit for unit, _ in alone]
    # Two processes with two devices each; one process with two devices.
    assert [result["parts"] for _, result in together] == [4, 4]
    assert [result["parts"] for _, result in alone] == [2, 2]
    for (_, ours), (_, theirs) in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours["risk"], theirs["risk"], rtol=1e-12)
