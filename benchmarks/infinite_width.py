"""Kernels of infinitely wide networks: dlmath's engine against neural-tangents, in turns.

Cases: a ReLU network of five hidden layers on 4,000 vectors, and a convolutional ReLU network (three layers of 3×3, global
average pooling) on 24 images of 16×16 pixels. NTKs in float32, one kernel of a set of inputs with itself a run. With
`--python`, neural-tangents also runs on the JAX it was made for.
"""

import argparse
import json
import sys
import warnings

from benchmarks import _former_neural_tangents, _harness

AIMS = {"dense": 2.0, "conv": 12.0}  # times faster than neural-tangents
PEERS = ("dlmath", "neural-tangents")
FORMER = "neural-tangents, its own JAX"


def network(case):
    """Layers, and the shape of the inputs."""
    from dlmath.kernels import Activation, Conv, Dense, GlobalAverage

    relu = Activation("relu")
    if case == "dense":
        return (*[Dense(1, 2**0.5, 0.1), relu] * 5, Dense(1)), (4000, 100)
    return (*[Conv(1, weight_std=2**0.5), relu] * 3, GlobalAverage(), Dense(1)), (24, 16, 16, 3)


def worker(options):
    import jax
    import jax.numpy as jnp
    import numpy as np

    from dlmath.kernels import _through_neural_tangents, infinite_width

    warnings.simplefilter("ignore")
    layers, shape = network(options["case"])
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    if options["peer"] == "dlmath":
        kernel = infinite_width(layers)
    else:
        evaluate = _through_neural_tangents.evaluator(layers, "ntk")
        kernel = jax.jit(lambda x: evaluate(x, None, "ntk"))

    def once():
        k = np.asarray(kernel(x))
        return {"corner": k[:3, :3].tolist()}

    _harness.work(once)


def main(arguments):
    if arguments[:1] == ["--worker"]:
        return worker(json.loads(arguments[1]))
    parser = argparse.ArgumentParser(prog="python -m benchmarks infinite_width", description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=tuple(AIMS), default=tuple(AIMS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--python", help=f"interpreter with jax 0.4.23 and neural-tangents, for {FORMER!r}")
    parser.add_argument("--name", default="infinite_width", help="file in benchmarks/results/")
    options = parser.parse_args(arguments)
    record = {
        "environment": _harness.environment(["dlmath", "jax", "jaxlib", "neural-tangents"]),
        "aims": AIMS,
        "cases": {},
    }
    peers = PEERS
    if options.python:
        peers = (*PEERS, FORMER)
        record["environment"]["versions of its own JAX"] = _former_neural_tangents.versions(options.python)
    for case in options.cases:
        contenders = {
            peer: _harness.Contender("benchmarks.infinite_width", {"case": case, "peer": peer}) for peer in PEERS
        }
        if options.python:
            given = {"kind": "infinite", "case": case, "shape": network(case)[1]}
            contenders[FORMER] = _harness.Contender("benchmarks._former_neural_tangents", given, options.python)
        runs = _harness.in_turns(contenders, options.rounds)
        for contender in contenders.values():
            contender.close()
        found = {
            peer: {
                "first_seconds": contenders[peer].first["seconds"],
                **{key: _harness.summary([run[key] for run in runs[peer]]) for key in ("seconds", "cpu_seconds")},
                "peak_bytes": max(run["peak_bytes"] for run in runs[peer]),
            }
            for peer in peers
        }
        for peer in peers[1:]:
            pairs = zip(runs["dlmath"][0]["corner"], runs[peer][0]["corner"], strict=True)
            gap = max(abs(a / b - 1) for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True))
            found[peer]["largest_relative_difference"] = gap
            for key in ("seconds", "cpu_seconds"):
                ratios = [theirs[key] / ours[key] for ours, theirs in zip(runs["dlmath"], runs[peer], strict=True)]
                found[peer][f"ratio_of_{key}"] = _harness.summary(ratios)
        record["cases"][case] = found
        for peer in peers:
            seconds, cpu = (found[peer][key]["median"] for key in ("seconds", "cpu_seconds"))
            print(
                f"{case:6s} {peer:28s} {seconds:8.3f} s, {cpu:8.3f} s of processors, first call "
                f"{found[peer]['first_seconds']:6.1f} s, peak {found[peer]['peak_bytes'] / 2**30:.2f} GiB"
            )
        for peer in peers[1:]:
            ratio, gap = found[peer]["ratio_of_seconds"]["median"], found[peer]["largest_relative_difference"]
            print(
                f"{case:6s} {ratio:.1f} times faster than {peer} (aim {AIMS[case]:g}), differs by {gap:.1e}", flush=True
            )
        path = _harness.write(options.name, record)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
