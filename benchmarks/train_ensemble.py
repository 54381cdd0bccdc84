"""Twenty seeds of an MLP: one vmapped `fit` against a compiled loop per seed in JAX and the same loop in PyTorch.

All do the same work: two hidden ReLU layers, batch 64, shuffled epochs without replacement (last partial
batch dropped), mean cross entropy, the same initial distribution, steps and optimizer, float32, all cores.
"""

import argparse
import itertools
import json
import math
import statistics
import sys
import time
from importlib import util

from benchmarks import _harness

BATCH = 64
CLASSES = 10
INPUTS = {"digits": (1797, 64), "mnist-like": (6000, 784)}
CONTENDERS = ("fit", "fit, one vmap", "jax loop", "torch", "torch, 1 thread")
AIMS = {64: 8.0, 256: 3.0}


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m benchmarks train_ensemble", description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--inputs", nargs="+", choices=list(INPUTS), default=list(INPUTS))
    parser.add_argument("--optimizers", nargs="+", choices=["sgd", "adam"], default=["sgd", "adam"])
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--torch-seeds", type=int, help="train fewer seeds in torch and scale the time up")
    parser.add_argument("--steps", type=int, default=280)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--name", default="train_ensemble", help="file in benchmarks/results/")
    options = parser.parse_args(arguments)
    if util.find_spec("torch") is None:
        print("torch is not installed: the comparison with PyTorch is left out (see benchmarks/README.md)")
        options.contenders = [name for name in options.contenders if not name.startswith("torch")]
    cases = [
        _case({"input": inputs, "width": width, "optimizer": optimizer, "seeds": options.seeds, "steps": options.steps,
               "torch_seeds": options.torch_seeds or options.seeds},
              options.contenders, options.rounds)
        for inputs in options.inputs for width in options.widths for optimizer in options.optimizers
    ]  # fmt: skip
    record = {
        "benchmark": "train_ensemble",
        "environment": _harness.environment(["dlmath", "jax", "jaxlib", "optax", "numpy", "torch"]),
        "matmul_gflops": _peak(),
        "aims": {"faster than torch": AIMS, "never slower than": "jax loop"},
        "cases": cases,
    }
    print(f"written to {_harness.write(options.name, record)}")
    return 0


def _peak():
    """Speed of a large product in JAX, GFLOP/s: what the products of any contender are up against."""
    contender = _harness.Contender("benchmarks.train_ensemble", {"contender": "matmul"})
    best = max(contender.run()["gflops"] for _ in range(5))
    contender.close()
    print(f"\na 2048 x 2048 product reaches {best:.0f} GFLOP/s")
    return best


def _matmul():
    import jax
    import jax.numpy as jnp

    x = jnp.ones((2048, 2048))
    product = jax.jit(jnp.matmul)
    product(x, x).block_until_ready()

    def run():
        start = time.perf_counter()
        product(x, x).block_until_ready()
        return {"gflops": 2 * 2048**3 / (time.perf_counter() - start) / 1e9}

    return run


def _case(case, names, rounds):
    contenders = {name: _harness.Contender("benchmarks.train_ensemble", {**case, "contender": name}) for name in names}
    try:
        runs = _harness.in_turns(contenders, rounds)
        first = {name: contender.first for name, contender in contenders.items()}
    finally:
        for contender in contenders.values():
            contender.close()
    scale = {name: case["seeds"] / case["torch_seeds"] if name.startswith("torch") else 1 for name in names}
    seconds = {name: [scale[name] * run["seconds"] for run in runs[name]] for name in names}
    floor = _floor(case)
    record = {"case": case, "floor": floor, "contenders": {}, "ratios": {}}
    print(f"\n{case['input']}, width {case['width']}, {case['optimizer']}: {floor['gflop_per_step']:.2f} GFLOP and "
          f"{floor['megabytes_per_step']:.0f} MB of parameters a step of {case['seeds']} seeds")  # fmt: skip
    for name in names:
        median = statistics.median(seconds[name])
        record["contenders"][name] = {
            "seconds": _harness.summary(seconds[name]),
            "milliseconds_per_step": 1e3 * median / case["steps"],
            "gflops": floor["gflop_per_step"] * case["steps"] / median,
            "cpu_seconds": _harness.summary([scale[name] * run["cpu_seconds"] for run in runs[name]]),
            "compile_seconds": scale[name] * first[name]["seconds"] - median,
            "peak_megabytes": runs[name][-1]["peak_bytes"] / 2**20,
            "final_loss": runs[name][-1]["loss"],
        }
        shown = record["contenders"][name]
        print(f"  {name:15s} {shown['milliseconds_per_step']:8.3f} ms/step {shown['gflops']:7.1f} GFLOP/s  "
            f"cpu {1e3 * shown['cpu_seconds']['median'] / case['steps']:8.3f} ms/step  compile "
              f"{shown['compile_seconds']:5.1f} s  peak {shown['peak_megabytes']:6.0f} MB  loss {shown['final_loss']:.4f}")  # fmt: skip
    for name in names:
        if name != "fit" and "fit" in names:
            paired = [other / own for other, own in zip(seconds[name], seconds["fit"], strict=True)]
            record["ratios"][f"{name} / fit"] = _harness.summary(paired)
            low, high = record["ratios"][f"{name} / fit"]["quartiles"]
            print(
                f"  fit is {statistics.median(paired):5.2f} times as fast as {name} (quartiles {low:.2f}, {high:.2f})"
            )
    return record


def _floor(case):
    """Arithmetic and parameter traffic that no implementation can avoid."""
    _, inputs = INPUTS[case["input"]]
    width = case["width"]
    # Forward and weight gradient of every layer, input gradient of all but the first; 2 operations each.
    products = 2 * inputs * width + 3 * width * width + 3 * width * CLASSES
    count = inputs * width + width + width * width + width + width * CLASSES + CLASSES
    # Read and write parameters and optimizer state, write and read the gradient.
    buffers = {"sgd": 6, "adam": 8}[case["optimizer"]]
    return {
        "gflop_per_step": 2 * BATCH * products * case["seeds"] / 1e9,
        "megabytes_per_step": 4 * buffers * count * case["seeds"] / 1e6,
        "parameters": count,
    }


def _data(name):
    import numpy as np

    count, inputs = INPUTS[name]
    if name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        return (digits.data / 16).astype(np.float32), digits.target.astype(np.int32)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, count)
    centres = rng.random((CLASSES, inputs)) < 0.2
    return (0.7 * centres[labels] + 0.3 * rng.random((count, inputs))).astype(np.float32), labels.astype(np.int32)


RATES = {"sgd": 0.05, "adam": 1e-3}


def _jax_parts(case):
    import jax
    import jax.numpy as jnp
    import optax

    _, inputs = INPUTS[case["input"]]
    sizes = (inputs, case["width"], case["width"], CLASSES)

    def init(key):
        keys = jax.random.split(key, 3)
        return [
            (math.sqrt(2 / a) * jax.random.normal(k, (a, b)), jnp.zeros(b))
            for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)
        ]

    def apply(params, x):
        (w1, b1), (w2, b2), (w3, b3) = params
        x = jax.nn.relu(x @ w1 + b1)
        return jax.nn.relu(x @ w2 + b2) @ w3 + b3

    rate = RATES[case["optimizer"]]
    optimizer = optax.sgd(rate, momentum=0.9) if case["optimizer"] == "sgd" else optax.adam(rate)
    x, y = map(jnp.asarray, _data(case["input"]))
    return jax.random.split(jax.random.key(0), case["seeds"]), init, apply, optimizer, x, y


def _fit(case, group_size=None):
    """dlmath: all seeds in one compiled program."""
    import jax

    import dlmath as dm

    keys, init, apply, optimizer, x, y = _jax_parts(case)
    init = jax.jit(jax.vmap(init))

    def run():
        trained = dm.train.fit_ensemble(
            keys, apply, dm.train.losses.cross_entropy, init(keys), (x, y), optimizer, num_steps=case["steps"],
            batch_size=BATCH, every=x.shape[0] // BATCH, group_size=group_size,
        )  # fmt: skip
        return {"loss": float(trained.loss[:, -1].mean())}

    return run


def _jax_loop(case):
    """The leanest loop in plain JAX: one seed compiled, called once per seed."""
    import jax
    import jax.numpy as jnp
    import optax

    keys, init, apply, optimizer, x, y = _jax_parts(case)
    num_batches = x.shape[0] // BATCH
    num_epochs, remainder = divmod(case["steps"], num_batches)

    def objective(params, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(apply(params, x), y).mean()

    def step(carry, rows):
        params, state = carry
        loss, gradient = jax.value_and_grad(objective)(params, x[rows], y[rows])
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), loss

    def batches(key, epoch):
        order = jax.random.permutation(jax.random.fold_in(key, epoch), x.shape[0])
        return order[: num_batches * BATCH].reshape(num_batches, BATCH)

    @jax.jit
    def train(key):
        params = init(key)
        carry = params, optimizer.init(params)
        epoch = lambda carry, number: jax.lax.scan(step, carry, batches(key, number))
        carry, losses = jax.lax.scan(epoch, carry, jnp.arange(num_epochs))
        if remainder:
            carry, losses = jax.lax.scan(step, carry, batches(key, num_epochs)[:remainder])
        return carry[0], losses.reshape(-1)[-num_batches:].mean()

    def run():
        losses = [jax.block_until_ready(train(key))[1] for key in keys]
        return {"loss": float(sum(losses)) / len(losses)}

    return run


def _torch(case, num_threads=None):
    """The same loop in PyTorch, eager, one seed after the other, on all cores unless told otherwise."""
    import os

    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(num_threads or cores)
    _, inputs = INPUTS[case["input"]]
    width, rate = case["width"], RATES[case["optimizer"]]
    x, y = map(torch.from_numpy, _data(case["input"]))
    y = y.long()

    def train(seed):
        torch.manual_seed(seed)
        sizes = (inputs, width, width, CLASSES)
        layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
        for layer in layers:
            torch.nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_features))
            torch.nn.init.zeros_(layer.bias)
        model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
        parameters = model.parameters()
        optimizer = (
            torch.optim.SGD(parameters, lr=rate, momentum=0.9)
            if case["optimizer"] == "sgd"
            else torch.optim.Adam(parameters, lr=rate)
        )
        criterion = torch.nn.CrossEntropyLoss()
        num_batches = x.shape[0] // BATCH
        losses = []
        for step in range(case["steps"]):
            if step % num_batches == 0:
                order = torch.randperm(x.shape[0])
            rows = order[step % num_batches * BATCH :][:BATCH]
            optimizer.zero_grad(set_to_none=True)
            loss = criterion(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return float(torch.stack(losses[-num_batches:]).mean())

    def run():
        losses = [train(seed) for seed in range(case["torch_seeds"])]
        return {"loss": sum(losses) / len(losses)}

    return run


def _worker(options):
    name = options.pop("contender")
    makers = {
        "matmul": lambda case: _matmul(),
        "fit": _fit,
        "fit, one vmap": lambda case: _fit(case, group_size=case["seeds"]),
        "jax loop": _jax_loop,
        "torch": _torch,
        "torch, 1 thread": lambda case: _torch(case, num_threads=1),
    }
    _harness.work(makers[name](options))


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        _worker(json.loads(sys.argv[2]))
