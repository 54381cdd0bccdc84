"""Empirical neural tangent kernels: dlmath's methods and those of neural-tangents, on four networks.

Every contender computes the same kernel, compiled, at the same parameters, float32; its largest difference to the first
contender's, relative to the largest entry, is stored beside its time. With `--python`, neural-tangents also runs on
the JAX it was made for.
"""

import argparse
import collections
import functools
import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import _former_neural_tangents, _harness

CASES = ("mlp", "cnn", "resnet18", "transformer")
OUTPUTS = ("full", "trace")
MODES = {f"neural-tangents, mode {mode}": mode for mode in (1, 2, 3)}
FORMER = {f"{name}, its own JAX": mode for name, mode in MODES.items()}
OURS = {"structured": "structured", "jacobian": "jacobian", "vector products": "vector_products"}
TOLERANCE = 1e-3
"""Of the kernel, relative to its largest entry: float32 sums of up to millions of products in another order."""


def main(arguments):
    parser = argparse.ArgumentParser(prog="benchmarks empirical_ntk", description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--outputs", nargs="+", choices=OUTPUTS, default=OUTPUTS)
    parser.add_argument("--contenders", nargs="+", choices=[*OURS, *MODES, *FORMER])
    parser.add_argument("--python", help="interpreter with jax 0.4.23 and neural-tangents, for 'its own JAX'")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--name", default="empirical_ntk", help="file in benchmarks/results/")
    options = parser.parse_args(arguments)
    if options.contenders is None:
        options.contenders = [*OURS, *MODES, *(FORMER if options.python else ())]
    if options.python is None and set(options.contenders) & set(FORMER):
        parser.error("contenders on their own JAX need --python")
    versions = ("dlmath", "jax", "jaxlib", "neural-tangents", "flax", "numpy")
    environment = _harness.environment(versions)
    if options.python:
        environment["versions of its own JAX"] = _former_neural_tangents.versions(options.python)
    records = []
    for case in options.cases:
        for outputs in options.outputs:
            records.append(_compare(case, outputs, options))
            path = _harness.write(options.name, {"environment": environment, "cases": records})
    print(f"written to {path}")
    return 0


def _compare(case, outputs, options):
    with tempfile.TemporaryDirectory() as folder:
        return _compared(case, outputs, options, Path(folder))


def _compared(case, outputs, options, folder):
    contenders, failed = {}, {}
    for number, name in enumerate(options.contenders):
        worker = {"case": case, "outputs": outputs, "contender": name, "kernel": str(folder / f"{number}.npy")}
        module, python = "benchmarks.empirical_ntk", None
        if name in FORMER:
            _export(case, folder)
            worker |= {"kind": "empirical", "mode": FORMER[name], "arrays": str(folder / "arrays.npz")}
            module, python = "benchmarks._former_neural_tangents", options.python
        try:
            contenders[name] = _harness.Contender(module, worker, python)
        except RuntimeError as error:
            failed[name] = str(error)
    runs = _harness.in_turns(contenders, options.rounds)
    differences = _differences({name: folder / f"{options.contenders.index(name)}.npy" for name in contenders})
    record = {"case": case, "outputs": outputs, "failed": failed, "contenders": {}}
    print(f"\n{case}, {outputs}")
    for name, contender in contenders.items():
        contender.close()
        seconds = _harness.summary([run["seconds"] for run in runs[name]])
        cpu = statistics.median(run["cpu_seconds"] for run in runs[name])
        peak = max(run["peak_bytes"] for run in runs[name])
        first = contender.first
        record["contenders"][name] = {
            "seconds": seconds,
            "cpu_seconds": cpu,
            "peak_bytes": peak,
            "first_seconds": first["seconds"],
            "relative_difference": differences[name],
            **{key: first.get(key) for key in ("predicted_flops", "program_flops", "routes")},
        }
        flops = first.get("predicted_flops") or first.get("program_flops")
        print(
            f"  {name:40s} median {1e3 * seconds['median']:9.1f} ms  least {1e3 * seconds['min']:9.1f} ms"
            f"  cpu {1e3 * cpu:9.1f} ms  {flops / 1e9:8.2f} Gflop  peak {peak / 1e9:5.2f} GB"
            f"  first {first['seconds']:6.1f} s  differs by {differences[name]:.0e}",
            flush=True,
        )
        if not differences[name] <= TOLERANCE:
            failed[name] = f"its kernel differs by {differences[name]:.1e} of the largest entry"
    for name, error in failed.items():
        print(f"  {name:40s} {error}")
    if "structured" in runs:
        best = record["contenders"]["structured"]["seconds"]["min"]
        record["speed_up_of_structured"] = {
            name: found["seconds"]["min"] / best for name, found in record["contenders"].items()
        }
    return record


def _export(case, folder):
    # Inputs and parameters, for an interpreter that cannot make them.
    import numpy as np

    path = folder / "arrays.npz"
    if not path.exists():
        _, params, x = network(case)
        np.savez(path, x=x, **{f"params/{name}": leaf for name, leaf in _former_neural_tangents.flat(params).items()})


def _differences(paths):
    import numpy as np

    kernels = {name: np.load(path) for name, path in paths.items()}
    reference = next(iter(kernels.values()), None)
    return {name: float(np.abs(k - reference).max() / np.abs(reference).max()) for name, k in kernels.items()}


def network(case):
    """(apply, params, x) of a case."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import dlmath as dm

    rng = np.random.default_rng(0)
    if case == "mlp":
        model, x = dm.models.mlp([512, 512, 512], 10), rng.normal(size=(64, 64))
    elif case == "cnn":
        model, x = dm.models.cnn([32, 32, 64, 64], 10, strides=[1, 1, 2, 1]), rng.normal(size=(16, 16, 16, 3))
    elif case == "resnet18":
        model, x = dm.models.from_linen(resnet18()), rng.normal(size=(8, 32, 32, 3))
    else:
        model, x = dm.models.transformer(10, vocabulary=1000, num_layers=2), rng.integers(0, 1000, (8, 32))
    x = jnp.asarray(x, jnp.int32 if case == "transformer" else jnp.float32)
    params = model.init(jax.random.key(0), x)
    if model.freeze is not None and model.init_state is not None:
        model = dm.models.freeze(model, model.init_state(x))
    return model.apply, params, x


def resnet18():
    """ResNet-18 in flax for images of 32 by 32: a 3 by 3 stem and no pooling before the blocks."""
    import flax.linen as nn

    conv = functools.partial(nn.Conv, use_bias=False)
    norm = functools.partial(nn.BatchNorm, use_running_average=True)

    class Block(nn.Module):
        width: int
        stride: int

        @nn.compact
        def __call__(self, x):
            h = nn.relu(norm()(conv(self.width, (3, 3), self.stride)(x)))
            h = norm()(conv(self.width, (3, 3))(h))
            if x.shape != h.shape:
                x = norm()(conv(self.width, (1, 1), self.stride)(x))
            return nn.relu(x + h)

    class ResNet(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(norm()(conv(64, (3, 3))(x)))
            for stage in range(4):
                for block in range(2):
                    x = Block(64 * 2**stage, 2 if stage and not block else 1)(x)
            return nn.Dense(10)(x.mean((1, 2)))

    return ResNet()


def _worker(options):
    import jax
    import numpy as np

    import dlmath as dm

    apply, params, x = network(options["case"])
    outputs, name = options["outputs"], options["contender"]
    found = {}
    if name in OURS:
        method = OURS[name]
        kernel = lambda x: dm.ntk.empirical(apply, params, x, outputs=outputs, method=method)
        plan = dm.ntk.plan(apply, params, x, outputs=outputs)
        found["predicted_flops"] = plan.flops[method]
        if method == "structured":
            found["routes"] = dict(collections.Counter(jax.tree.leaves(plan.routes)))
    else:
        nt = dm.compat.neural_tangents()
        axes = {"full": (), "trace": (-1,)}[outputs]
        theirs = nt.empirical_ntk_fn(apply_of(apply), axes, vmap_axes=0, implementation=MODES[name])
        program = jax.jit(lambda p, x: theirs(x, None, p))
        found["program_flops"] = program.lower(params, x).cost_analysis()["flops"]
        scale = 10 if outputs == "trace" else 1  # theirs is a mean
        kernel = lambda x: np.asarray(program(params, x)) * scale

    def run():
        value = np.asarray(kernel(x))
        if options["kernel"] is not None:
            np.save(options["kernel"], value)
            options["kernel"] = None
        return found

    _harness.work(run)


def apply_of(apply):
    """`apply` with the signature that neural-tangents expects."""
    return lambda params, x, **_: apply(params, x)


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        _worker(json.loads(sys.argv[2]))
