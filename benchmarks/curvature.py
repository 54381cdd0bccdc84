"""Products with Hessian and Gauss-Newton matrix, Lanczos, top eigenpairs and spectral density, against five peers.

The same network, data and parameters for all, float32, all cores, parameters passed as arguments, compiled before
the clock starts. Every number that is timed is also checked, against products in float64.
"""

import argparse
import statistics
import sys
import tempfile
from importlib import util
from pathlib import Path

from benchmarks import _harness

NETWORKS = ("mlp", "cnn", "transformer")
# Contender -> its module and the package it needs.
CONTENDERS = {
    "dlmath": ("_curvature_jax", None),
    "dlmath, no search": ("_curvature_jax", None),
    "jax": ("_curvature_jax", None),
    "matfree": ("_curvature_jax", "matfree"),
    "matfree, linearised": ("_curvature_jax", "matfree"),
    "matfree, confirmed": ("_curvature_jax", "matfree"),
    "torch": ("_curvature_torch", "torch"),
    "curvlinops": ("_curvature_torch", "curvlinops"),
    "hessian-eigenthings": ("_curvature_torch", "hessian_eigenthings"),
}
PACKAGES = ("dlmath", "jax", "jaxlib", "matfree", "torch", "curvlinops-for-pytorch", "hessian-eigenthings", "scipy")
PRODUCTS = ("gradient", "product", "product, fixed", "gauss-newton")
RUNS = ("lanczos", "eigenpairs", "density")
# Upper bounds on dlmath's products in gradients, and lower bounds on a peer's time over dlmath's.
PRODUCT_AIMS = {"product": 1.9, "product, fixed": 1.5}
RUN_AIMS = {"hessian-eigenthings": 3.0, "curvlinops": 8.0, "matfree": 1.0}
# Largest relative errors of a product in float32 against float64, and of an eigenpair.
PRODUCT_ERROR, RESIDUAL = 1e-3, 1e-3


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m benchmarks curvature", description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--quantities", nargs="+", choices=PRODUCTS + RUNS, default=list(PRODUCTS + RUNS))
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--rounds", type=int, default=7, help="of products; long runs take fewer")
    parser.add_argument("--long-rounds", type=int, default=3, help="of Lanczos runs, eigenpairs and densities")
    parser.add_argument("--probes", type=int, default=10)
    parser.add_argument("--torch-probes", type=int, default=1, help="fewer probes in PyTorch, the time scaled up")
    parser.add_argument("--training-steps", type=int, default=50)
    parser.add_argument("--patience", type=float, default=200.0, help="a longer first run (seconds) is not repeated")
    parser.add_argument("--name", default="curvature", help="file in benchmarks/results/")
    options = parser.parse_args(arguments)
    missing = {package for _, package in CONTENDERS.values() if package and util.find_spec(package) is None}
    for package in sorted(missing):
        print(f"{package} is not installed: the comparison with it is left out (see benchmarks/README.md)")
    names = [name for name in options.contenders if CONTENDERS[name][1] not in missing]
    record = {
        "benchmark": "curvature",
        "environment": _harness.environment(PACKAGES),
        "aims": {"at most so many gradients": PRODUCT_AIMS, "faster than": RUN_AIMS},
        "options": {"probes": options.probes, "torch_probes": options.torch_probes},
        "cases": [],
    }
    for network in options.networks:
        for case in _case(network, names, options):
            # Written after every quantity: a run takes half an hour, and what it has found should outlive it.
            record["cases"] = [*(c for c in record["cases"] if c["network"] != network), case]
            written = _harness.write(options.name, record)
    print(f"written to {written}")
    return 0


def _case(network, names, options):
    """Yields the record of a network, one quantity longer each time."""
    with tempfile.TemporaryDirectory() as folder:
        case = {
            "network": network, "folder": folder, "probes": options.probes, "torch_probes": options.torch_probes,
            "training_steps": options.training_steps,
        }  # fmt: skip
        start = lambda name, module: _harness.Contender(f"benchmarks.{module}", {**case, "contender": name})
        reference = start("reference", "_curvature_jax")
        contenders = {}
        try:
            print(f"\n{network}: {reference.first['parameters']:,} parameters, loss {reference.first['loss']:.3f}, "
                  f"eigenvalues {reference.first['top'][0]:.3g} … {reference.first['top'][-1]:.3g}", flush=True)  # fmt: skip
            contenders |= {name: start(name, CONTENDERS[name][0]) for name in names}
            record = {"network": network, **reference.first, "quantities": {}, "misses": []}
            if "jax" in contenders:
                shown = contenders["jax"].run(name="operations", save="")
                record["floor"] = {name: shown[name] for name in PRODUCTS}
            for quantity in options.quantities:
                able = {name: c for name, c in contenders.items() if quantity in c.first["names"]}
                if able:
                    record["quantities"][quantity] = _quantity(quantity, able, reference, folder, options)
                    _show(quantity, record)
                    yield record
        finally:
            for contender in (reference, *contenders.values()):
                contender.close()


def _quantity(quantity, contenders, reference, folder, options):
    first, checks = {}, {}
    for name, contender in contenders.items():
        path = str(Path(folder) / "found.npz")
        first[name] = contender.run(name=quantity, save=path)
        judged = reference.run(path=path, name=quantity)
        checks[name] = {k: first[name][k] for k in ("products", "orthogonality") if k in first[name]} | judged
    short = quantity in PRODUCTS
    # Short functions are repeated until a request takes a third of a second.
    # What has no patience left is timed by its first run, its compilation in it.
    again = {name: c for name, c in contenders.items() if first[name]["seconds"] <= options.patience}
    once = {name: contender.run(name=quantity)["seconds"] for name, contender in again.items()}
    repeats = {name: max(1, min(50, round(0.3 / seconds))) if short else 1 for name, seconds in once.items()}
    rounds = options.rounds if short else options.long_rounds
    runs = {name: [] if name in again else [first[name]] * rounds for name in contenders}
    for number in range(rounds):
        for name in list(again)[:: 1 if number % 2 == 0 else -1]:
            runs[name].append(again[name].run(name=quantity, repeats=repeats[name]))
    found = {}
    for name, contender in contenders.items():
        scale = options.probes / options.torch_probes if quantity == "density" and _torch(name) else 1
        found[name] = {
            "seconds": _harness.summary([scale * run["seconds"] for run in runs[name]]),
            "cpu_seconds": _harness.summary([scale * run["cpu_seconds"] for run in runs[name]]),
            "compile_seconds": first[name]["seconds"] - statistics.median(run["seconds"] for run in runs[name]),
            "peak_megabytes": max(run["peak_bytes"] for run in runs[name]) / 2**20,
            "scaled_by": scale,
            "repeated": name in again,
            **checks[name],
        }
        if not _torch(name):
            found[name]["second_checkpoint_compilations"] = _compilations(contender, quantity)
    if "dlmath" in found:
        for name in found:
            scale = found[name]["scaled_by"]
            pairs = zip(runs[name], runs["dlmath"], strict=True)
            found[name]["over_dlmath"] = _harness.summary([scale * a["seconds"] / b["seconds"] for a, b in pairs])
    return found


def _compilations(contender, quantity):
    """How many programs are compiled for a second checkpoint of the same network."""
    before = contender.run(name="compilations", save="")["compilations"]
    contender.run(name=quantity, checkpoint=1)
    return contender.run(name="compilations", save="")["compilations"] - before


def _torch(name):
    return CONTENDERS[name][0] == "_curvature_torch"


def _show(quantity, record):
    found = record["quantities"][quantity]
    gradient = record["quantities"].get("gradient", {}).get("jax")
    floor = record.get("floor", {}).get(quantity) if quantity != "gradient" else None
    print(f"  {quantity}" + (f" (floor {floor:.2f} gradients)" if floor else ""))
    misses = []
    for name, shown in found.items():
        median = shown["seconds"]["median"]
        words = [
            f"{1e3 * median:9.1f} ms",
            f"peak {shown['peak_megabytes']:6.0f} MB",
            f"compile {shown['compile_seconds']:5.1f} s",
        ]
        if gradient and quantity in PRODUCTS and not _torch(name):
            shown["gradients"] = median / gradient["seconds"]["median"]
            words.append(f"{shown['gradients']:5.2f} gradients")
            if name == "dlmath" and shown["gradients"] > PRODUCT_AIMS.get(quantity, float("inf")):
                misses.append(f"{quantity} takes {shown['gradients']:.2f} gradients, aim {PRODUCT_AIMS[quantity]}")
        if "over_dlmath" in shown and name != "dlmath":
            ratio = shown["over_dlmath"]["median"]
            words.append(f"{ratio:6.2f} times dlmath")
            if quantity in ("eigenpairs", "density") and ratio < RUN_AIMS.get(name, 0):
                misses.append(f"{quantity}: {name} takes {ratio:.2f} times as long, aim {RUN_AIMS[name]}")
        words += [
            f"{label} {shown[label]:.2g}"
            for label in ("error", "residual", "largest_off", "orthogonality")
            if label in shown
        ]
        words += [f"{shown['products']} products"] if "products" in shown else []
        if name.startswith("dlmath") and shown.get("second_checkpoint_compilations"):
            misses.append(f"{quantity}: {name} compiles {shown['second_checkpoint_compilations']} programs anew")
        if shown.get("error", 0) > PRODUCT_ERROR or shown.get("residual", 0) > 1.01 * RESIDUAL:
            words.append("NOT ACCURATE")
            misses += [f"{quantity} is not accurate"] if name.startswith("dlmath") else []
        print(f"    {name:20s} " + "  ".join(words), flush=True)
    for miss in misses:
        print(f"    missed: {miss}")
    record["misses"] += misses


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
