"""Width-wise double descent on MNIST-1D: `fit_ensemble` over five seeds a width against the same loop in PyTorch on the CPU.

A network 40-w-w-10 with ReLU, 15 % of the labels wrong, SGD with rate .01 and momentum .9, batch 100, shuffled epochs, mean
cross entropy, PyTorch's initial distribution, float32, all cores. Test errors are measured once, at the end.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
from importlib import util

from benchmarks import _harness

BATCH, CLASSES, INPUTS, EXAMPLES = 100, 10, 40, 4000
RATE, MOMENTUM, LABEL_NOISE = 0.01, 0.9, 0.15
WIDTHS = (9, 16, 27, 47, 61, 104, 300)
CONTENDERS = ("fit", "torch", "torch, 1 thread")
AIM = 3.5


def main(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks double_descent_training", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--torch-epochs", type=int, help="train fewer epochs in torch and scale the time up")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=["fit", "torch"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--name", default="double_descent_training", help="file in benchmarks/results/")
    options = parser.parse_args(arguments)
    if util.find_spec("torch") is None:
        print("torch is not installed: the comparison with PyTorch is left out (see benchmarks/README.md)")
        options.contenders = [name for name in options.contenders if not name.startswith("torch")]
    epochs = dict.fromkeys(options.contenders, options.epochs)
    for name in epochs:
        if name.startswith("torch") and options.torch_epochs:
            epochs[name] = options.torch_epochs
    cases = [_case(width, options.seeds, options.epochs, epochs, options.rounds) for width in options.widths]
    total = {name: sum(case["contenders"][name]["seconds"]["median"] for case in cases) for name in epochs}
    record = {
        "benchmark": "double_descent_training",
        "environment": _harness.environment(["dlmath", "jax", "jaxlib", "optax", "numpy", "torch"]),
        "aim": {"faster than torch": AIM},
        "seeds": options.seeds,
        "epochs": epochs,
        "cases": cases,
        "sweep_seconds": total,
    }
    for name, seconds in total.items():
        print(f"\nthe whole sweep takes {name} {seconds:.1f} s", end="")
        print(f", {seconds / total['fit']:.2f} times that of fit" if name != "fit" and "fit" in total else "")
    print(f"written to {_harness.write(options.name, record)}")
    return 0


def _case(width, seeds, wanted, epochs, rounds):
    case = {"width": width, "seeds": seeds}
    module = "benchmarks.double_descent_training"
    contenders = {n: _harness.Contender(module, {**case, "contender": n, "epochs": e}) for n, e in epochs.items()}
    try:
        first = {name: contender.first for name, contender in contenders.items()}
        runs = _harness.in_turns(contenders, rounds)
    finally:
        for contender in contenders.values():
            contender.close()
    # Operations: forward and weight gradient of every layer, input gradient of all but the first; 2 a multiply-add.
    products = 2 * INPUTS * width + 3 * width * width + 3 * width * CLASSES
    steps = wanted * (EXAMPLES // BATCH)
    gflop = 2 * BATCH * products * seeds * steps / 1e9
    record = {"case": case, "gflop": gflop, "contenders": {}, "ratios": {}}
    seconds = {}
    print(f"\nwidth {width}: {gflop:.0f} GFLOP for {seeds} seeds and {steps} steps")
    for name in epochs:
        scale = wanted / epochs[name]
        seconds[name] = [scale * run["seconds"] for run in runs[name]]
        cpu = [scale * run["cpu_seconds"] for run in runs[name]]
        median = statistics.median(seconds[name])
        shown = record["contenders"][name] = {
            "seconds": _harness.summary(seconds[name]),
            "cpu_seconds": _harness.summary(cpu),
            "gflops": gflop / median,
            "compile_seconds": first[name]["seconds"],
            "peak_megabytes": runs[name][-1]["peak_bytes"] / 2**20,
            "test_error": runs[name][-1]["test_error"],
        }
        print(f"  {name:15s} {median:8.2f} s   cpu {statistics.median(cpu):8.2f} s   {shown['gflops']:6.1f} GFLOP/s   "
              f"first epoch {shown['compile_seconds']:5.1f} s   peak {shown['peak_megabytes']:5.0f} MB   "
              f"test error {100 * shown['test_error']:.1f} %")  # fmt: skip
    for name in epochs:
        if name != "fit" and "fit" in epochs:
            paired = [other / own for other, own in zip(seconds[name], seconds["fit"], strict=True)]
            record["ratios"][f"{name} / fit"] = _harness.summary(paired)
            print(f"  fit is {statistics.median(paired):5.2f} times as fast as {name}")
    return record


def _data():
    """(x, y, x_test, y_test) as NumPy arrays, the same labels wrong for all."""
    import jax

    import dlmath as dm

    return dm.data.with_label_noise(jax.random.key(0), dm.data.mnist1d(), LABEL_NOISE)


def _fit(case):
    """dlmath: all seeds of a width in one compiled program."""
    import jax
    import jax.numpy as jnp
    import optax

    import dlmath as dm

    x, y, x_test, y_test = _data()
    model = dm.models.mlp([case["width"]] * 2, CLASSES, parameterization="standard", initializer="torch")
    keys = jax.random.split(jax.random.key(0), case["seeds"])
    init = jax.jit(jax.vmap(model.init, (0, None)))
    optimizer = optax.sgd(RATE, momentum=MOMENTUM)
    probes = {"test_error": dm.train.error(model.apply, x_test, y_test)}

    def train(epochs):
        num_steps = epochs * (EXAMPLES // BATCH)
        run = dm.train.fit_ensemble(
            keys, model.apply, dm.train.losses.cross_entropy, init(keys, jnp.asarray(x[:1])), (x, y), optimizer,
            num_steps=num_steps, batch_size=BATCH, every=num_steps, probes=probes,
        )  # fmt: skip
        return float(run.probes["test_error"][:, -1].mean())

    return train


def _torch(case, num_threads=None):
    """The same loop in PyTorch, eager, one seed after the other, on all cores unless told otherwise."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(num_threads or cores)
    x, y, x_test, y_test = (torch.from_numpy(array) for array in _data())
    y, y_test = y.long(), y_test.long()
    sizes = (INPUTS, case["width"], case["width"], CLASSES)

    def one(seed, epochs):
        torch.manual_seed(seed)
        layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
        model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
        criterion = torch.nn.CrossEntropyLoss()
        for _ in range(epochs):
            for rows in torch.randperm(EXAMPLES).split(BATCH):
                optimizer.zero_grad(set_to_none=True)
                criterion(model(x[rows]), y[rows]).backward()
                optimizer.step()
        with torch.no_grad():
            return float((model(x_test).argmax(1) != y_test).float().mean())

    return lambda epochs: sum(one(seed, epochs) for seed in range(case["seeds"])) / case["seeds"]


def _worker(options):
    name, epochs = options.pop("contender"), options.pop("epochs")
    makers = {"fit": _fit, "torch": _torch, "torch, 1 thread": lambda case: _torch(case, num_threads=1)}
    train = makers[name](options)
    # The first call compiles, on one epoch: the program is that of any number.
    lengths = itertools.chain([1], itertools.repeat(epochs))
    _harness.work(lambda: {"test_error": train(next(lengths))})


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        _worker(json.loads(sys.argv[2]))
