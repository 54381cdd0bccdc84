"""Images per second of CIFAR-10's ResNet18 and CNN of width k, and the hours of their curves, beside PyTorch.

Training as in `experiments/nakkiran2021deep.py` at paper scale: minibatches of 128, Adam for the ResNet and SGD for the CNN,
images shifted and mirrored, batch norm with running averages. Images are random: speed does not depend on what they show.
"""

import argparse
import itertools
import json
import sys
import time
from importlib import util
from pathlib import Path

import numpy as np

from benchmarks import _harness

ARCHITECTURES = ("resnet18", "cnn")
BATCH, CLASSES, IMAGES = 128, 10, 50_000
WORKERS = ("fit", "fit, TF32", "torch")


def main(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks double_descent_deep", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES)
    parser.add_argument("--widths", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--members", type=int, nargs="+", default=[1, 6], help="networks trained side by side by fit")
    parser.add_argument("--contenders", nargs="+", choices=WORKERS, default=list(WORKERS))
    parser.add_argument("--images", type=int, default=10_000, help="training images in memory")
    parser.add_argument("--seconds", type=float, default=3.0, help="a measurement takes at least so long")
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds after which no case is begun")
    parser.add_argument("--name", default="double_descent_deep", help="file in benchmarks/results/")
    options = parser.parse_args(arguments)
    if util.find_spec("torch") is None:
        print("torch is not installed: the comparison with PyTorch is left out (see benchmarks/README.md)")
        options.contenders = [name for name in options.contenders if name != "torch"]
    record = {
        "benchmark": "double_descent_deep",
        "environment": _harness.environment(["dlmath", "jax", "jaxlib", "optax", "numpy", "torch"]),
        "batch": BATCH,
        "images": options.images,
        "cases": [],
    }
    paper = _paper()
    config = paper.SCALES["paper"]
    begin = time.perf_counter()
    members = dict.fromkeys(WORKERS, options.members) | {"torch": [1]}
    print(
        f"{'':10s} {'width':>5s} {'networks':>8s} {'images/s':>10s} {'hours a seed':>12s} {'compiling':>9s} {'memory':>9s}"
    )
    # First of all one network of each width, then many: what is asked for first is there if the time runs out.
    for architecture, count in itertools.product(options.architectures, sorted({*options.members, 1})):
        for width, contender in itertools.product(options.widths, options.contenders):
            if count not in members[contender] or time.perf_counter() - begin > options.budget:
                continue
            case = {"architecture": architecture, "width": width, "members": count}
            found = _measured({**case, "contender": contender, "images": options.images, "seconds": options.seconds})
            hours = paper.num_epochs(config, architecture) * IMAGES / found["images_per_second"] / 3600
            record["cases"].append({**case, "contender": contender, **found, "hours_a_seed": hours})
            print(f"{architecture:10s} {width:5d} {count:8d} {found['images_per_second']:10.0f} {hours:12.2f} "
                  f"{found['compile_seconds']:7.1f} s {found['peak_bytes'] / 1e9:6.2f} GB   {contender} on {found['device']}",
                  flush=True)  # fmt: skip
            record["curve_hours"] = _curves(paper, config, record["cases"])
            path = _harness.write(options.name, record)
    for name, hours in record["curve_hours"].items():
        print(f"{name}: {hours:.0f} h for the curve of one seed, {len(config.widths)} widths")
    print(f"written to {path}")
    return 0


def _measured(case):
    contender = _harness.Contender("benchmarks.double_descent_deep", case)
    try:
        return contender.first
    finally:
        contender.close()


def _curves(paper, config, cases):
    """Hours of all widths of the paper's curve, for one seed."""
    import xarray as xr

    groups = {}
    for case in cases:
        label = f"{case['architecture']}, {case['contender']}, {case['members']} side by side"
        groups.setdefault(label, {})[case["width"]] = case["hours_a_seed"]
    hours = {}
    for label, measured in groups.items():
        widths = sorted(measured)
        rows = xr.DataArray(
            [[measured[width] for width in widths]], {"architecture": [label], "speed_width": widths},
            ("architecture", "speed_width"),
        )  # fmt: skip
        hours |= paper.curve_hours(config, rows)
    return hours


def _paper():
    """The module of the experiment whose training is measured; imported where it is needed, not in PyTorch's process."""
    from dlmath import repro

    path = Path(__file__).parents[1] / "experiments" / "nakkiran2021deep.py"
    return sys.modules[repro.load(path).experiment.config.__module__]


def _data(count):
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 32, 32, 3), np.float32), rng.integers(0, CLASSES, count).astype(np.int32)


# The contenders: each gives train(steps), which trains for so many steps and waits for the end --------------------------


def _fit(case):
    """dlmath: `fit_ensemble`, all networks side by side in one compiled program, products in float32 unless told otherwise."""
    import jax
    import jax.numpy as jnp

    import dlmath as dm

    paper = _paper()
    images, labels = _data(case["images"])
    images, keys = jnp.asarray(images), jax.random.split(jax.random.key(0), case["members"])
    model = paper.network(case["architecture"], case["width"])
    params = jax.jit(jax.vmap(model.init, (0, None)))(keys, images[:1])
    stateful, options = model.apply_train is not None, {}
    if stateful:
        options["state"] = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(keys)), model.init_state(images[:1]))
    optimizer = paper.optimizer(case["architecture"])

    def train(steps):
        runs = dm.train.fit_ensemble(
            keys, model.apply_train if stateful else model.apply, dm.train.losses.cross_entropy, params, (images, labels),
            optimizer, num_steps=steps, batch_size=BATCH, every=steps, augment=dm.data.crop_and_flip,
            group_size=case["members"], **options,
        )  # fmt: skip
        jax.block_until_ready(runs)

    def about():
        device = jax.devices()[0]
        memory = device.memory_stats() or {}
        return {"device": device.device_kind} | (
            {"peak_bytes": memory["peak_bytes_in_use"]} if "peak_bytes_in_use" in memory else {}
        )

    # In the process of a contender, which is set up once.
    if case["contender"] == "fit, TF32":
        jax.config.update("jax_default_matmul_precision", "tensorfloat32")
    return train, about


def _torch(case):
    """The same networks in eager PyTorch, channels last, convolutions in TF32, on images that are not shifted or mirrored."""
    import torch
    from torch import nn

    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images, labels = _data(case["images"])
    images = torch.from_numpy(images).permute(0, 3, 1, 2).to(device, memory_format=torch.channels_last)
    labels, k = torch.from_numpy(labels).long().to(device), case["width"]

    class Block(nn.Module):
        def __init__(self, features, channels, stride):
            super().__init__()
            self.norm1, self.norm2 = nn.BatchNorm2d(features), nn.BatchNorm2d(channels)
            self.conv1 = nn.Conv2d(features, channels, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
            same = stride == 1 and features == channels
            self.shortcut = None if same else nn.Conv2d(features, channels, 1, stride, bias=False)

        def forward(self, h):
            z = nn.functional.relu(self.norm1(h))
            s = h if self.shortcut is None else self.shortcut(z)
            return s + self.conv2(nn.functional.relu(self.norm2(self.conv1(z))))

    if case["architecture"] == "resnet18":
        channels = [k, k, k, 2 * k, 2 * k, 4 * k, 4 * k, 8 * k, 8 * k]
        blocks = [Block(a, b, 1 + (a != b)) for a, b in itertools.pairwise(channels)]
        layers = [nn.Conv2d(3, k, 3, 1, 1, bias=False), *blocks, nn.AvgPool2d(4)]
    else:
        layers = []
        for before, after, pool in ((3, k, 1), (k, 2 * k, 2), (2 * k, 4 * k, 2), (4 * k, 8 * k, 8)):
            layers += [nn.Conv2d(before, after, 3, 1, 1), nn.BatchNorm2d(after), nn.ReLU()]
            layers += [nn.MaxPool2d(pool)] if pool > 1 else []
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * k, CLASSES)).to(
        device, memory_format=torch.channels_last
    )
    adam = case["architecture"] == "resnet18"
    optimizer = torch.optim.Adam(model.parameters(), 1e-4) if adam else torch.optim.SGD(model.parameters(), 0.1)

    def wait():
        if device.type == "cuda":
            torch.cuda.synchronize()

    def batches():
        while True:
            yield from torch.randperm(len(images), device=device)[: len(images) // BATCH * BATCH].split(BATCH)

    def train(steps):
        for rows in itertools.islice(batches(), steps):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
        wait()

    def about():
        if device.type != "cuda":
            return {"device": "cpu"}
        return {"device": torch.cuda.get_device_name(), "peak_bytes": torch.cuda.max_memory_allocated()}

    return train, about


def _worker(case):
    train, about = (_torch if case["contender"] == "torch" else _fit)(case)
    seconds = lambda steps: _harness.timed(lambda: train(steps) or {})["seconds"]
    compiling = seconds(1)
    # A call has a cost of its own; the time of a step is the difference of two calls that only differ in their length.
    preparation, steps = min(seconds(1) for _ in range(2)), 10
    while (elapsed := seconds(1 + steps)) < max(case["seconds"], 4 * preparation):
        steps *= 1 + int(min(9, 1.2 * max(case["seconds"], 4 * preparation) / elapsed))
    rate = steps * case["members"] * BATCH / (elapsed - preparation)
    shown = _harness.timed(
        lambda: {"images_per_second": rate, "compile_seconds": compiling - preparation, "steps": steps}
    )
    _harness.answer({key: value for key, value in shown.items() if key not in ("seconds", "cpu_seconds")} | about())


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        _worker(json.loads(sys.argv[2]))
