"""Tangent kernels beyond memory: a Gram matrix in tiles on disk, and eigenvalues of one that is never formed.

`gram`: the infinite-width tangent kernel of MNIST's training images, to a Zarr store, killed on the way and resumed; then
the first tiles of all 60,000, whose peak memory does not depend on how many of them are done. `eigenvalues`: the largest
of the empirical kernel of a ResNet on all outputs of CIFAR-10 images. Each in processes of their own, whose peak is theirs
from start to end.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import _harness

AIM = 4e9
RUNS = ("gram", "eigenvalues")
ALL = 60_000


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m benchmarks ntk_scale", description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=10_000, help="of the Gram matrix")
    parser.add_argument("--block-size", type=int, default=1000)
    parser.add_argument("--depth", type=int, default=3, help="hidden layers of the infinite network")
    parser.add_argument("--images", type=int, default=2000, help="of the eigenvalues")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--count", type=int, default=20, help="eigenvalues")
    parser.add_argument("--tol", type=float, default=1e-2, help="residual relative to each eigenvalue")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--name", default="ntk_scale", help="file in benchmarks/results/")
    options = vars(parser.parse_args(arguments))
    name, runs = options.pop("name"), options.pop("runs")
    found = {run: {"gram": _gram, "eigenvalues": _eigenvalues}[run](options) for run in runs}
    record = {
        "benchmark": "ntk_scale",
        "environment": _harness.environment(["dlmath", "jax", "jaxlib", "zarr"]),
        "aims": {"peak_bytes": AIM},
        "options": options,
        "runs": found,
    }
    print(f"written to {_harness.write(name, record)}")
    return 0


def _gram(options):
    folder = Path(tempfile.mkdtemp(prefix="ntk_scale_"))
    try:
        store = folder / "mnist"
        count = -(-options["points"] // options["block_size"])
        tiles = count * (count + 1) // 2
        killed = _contender(options, store=str(store), until=None)
        killed.process.stdin.write("run\n")
        killed.process.stdin.flush()
        while _stored(store) < tiles // 2:
            time.sleep(0.02)
        killed.process.kill()
        killed.process.wait()
        done = _stored(store)
        resumed = _finished(_contender(options, store=str(store), until=None))
        size = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
        of_all = _finished(_contender(options | {"points": ALL}, store=str(folder / "all"), until=6))
    finally:
        shutil.rmtree(folder)
    seconds = resumed["seconds"] / resumed["computed"]
    count = -(-ALL // options["block_size"])
    num_all = count * (count + 1) // 2
    found = {
        "tiles": tiles, "stored_when_killed": done, "computed_after": resumed["computed"], "store_bytes": size,
        "seconds_per_tile": seconds, "seconds_per_tile_of_all": of_all["seconds"] / of_all["computed"],
        "resumed": resumed, "first_tiles_of_all": of_all, "tiles_of_all": num_all,
        "forecast_seconds_of_all": num_all * seconds, "forecast_bytes_of_all": size / tiles * num_all,
        "missed": max(resumed["peak_bytes"], of_all["peak_bytes"]) > AIM,
    }  # fmt: skip
    print(
        f"{options['points']:,} points: killed with {done} of {tiles} tiles stored, {resumed['computed']} computed by"
        f" the next call, {seconds:.2f} s a tile, {size / 1e9:.2f} GB on disk\n"
        f"  peak {resumed['peak_bytes'] / 1e9:.2f} GB, of which {resumed['start_bytes'] / 1e9:.2f} before the call;"
        f" {of_all['peak_bytes'] / 1e9:.2f} GB in the first {of_all['computed']} tiles of {ALL:,} points"
        f" (aim {AIM / 1e9:.0f})\n  all {num_all} tiles of {ALL:,} points: {num_all * seconds / 60:.0f} min,"
        f" {found['forecast_bytes_of_all'] / 1e9:.1f} GB on disk" + ("  missed" if found["missed"] else ""),
        flush=True,
    )
    return found


def _eigenvalues(options):
    contender = _harness.Contender("benchmarks.ntk_scale", {**options, "run": "eigenvalues"})
    before = contender.first
    after = contender.run()
    contender.close()
    found = before | after | {"missed": after["peak_bytes"] > AIM}
    print(
        f"{before['parameters']:,} parameters, a kernel of {before['size']:,} rows ({before['kernel_bytes'] / 1e9:.2f} GB"
        f" if it were formed): {len(after['values'])} eigenvalues from {after['values'][0]:.4g} to"
        f" {after['values'][-1]:.4g} in {after['seconds']:.0f} s, {after['products']} products, largest residual"
        f" {after['residual']:.1e} λ, {'all' if after['converged'] else 'not all'} converged\n"
        f"  peak {after['peak_bytes'] / 1e9:.2f} GB, of which {before['start_bytes'] / 1e9:.2f} before the call"
        + ("  missed" if found["missed"] else ""),
        flush=True,
    )
    return found


def _contender(options, **more):
    return _harness.Contender("benchmarks.ntk_scale", {**options, **more, "run": "gram"})


def _finished(contender):
    found = contender.first | contender.run()
    contender.close()
    return found


def _stored(store):
    manifest = store / "tiles.sha256"
    return manifest.read_text().count("  c/") if manifest.exists() else 0


def _worker(options):
    run = {"gram": _gram_run, "eigenvalues": _eigenvalues_run}[options["run"]](options)
    for _ in sys.stdin:
        _harness.answer(_harness.timed(run))


def _gram_run(options):
    import dlmath as dm

    kernel = dm.models.mlp([512] * options["depth"], 1).kernel
    x = dm.data.mnist().x[: options["points"]].reshape(-1, 784)
    computed = []

    def counted(tiles, compute):
        for tile in tiles[: options["until"]]:
            yield tile, compute(tile)
            computed.append(tile)

    # Compiled before the clock starts.
    dm.ntk.gram(kernel, x[: 2 * options["block_size"]], block_size=options["block_size"])
    _harness.answer({"start_bytes": _harness.timed(dict)["peak_bytes"]})

    def run():
        try:
            dm.ntk.gram(kernel, x, block_size=options["block_size"], store=options["store"], engine=counted)
        except dm.files.DamagedFileError:
            if options["until"] is None:
                raise
        return {"computed": len(computed)}

    return run


def _eigenvalues_run(options):
    import jax
    import numpy as np

    import dlmath as dm

    model = dm.models.resnet(8, 16, 10, norm="layer", stages=(1, 2, 4))
    x = dm.data.cifar10(batches=(1,), test_batch="test_lossless_1017").x[: options["images"]]
    params = jax.jit(model.init)(jax.random.key(0), x[:1])
    operator = dm.ntk.operator(model.apply, params, x, batch_size=options["batch_size"])
    start = _harness.timed(dict)["peak_bytes"]
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    _harness.answer(
        {
            "start_bytes": start,
            "parameters": parameters,
            "size": operator.size,
            "kernel_bytes": 4 * operator.size**2,
            "device": jax.devices()[0].device_kind,
        }
    )

    def run():
        found = dm.linalg.eigenpairs(
            jax.random.key(1), operator, options["count"], tol=options["tol"], relative_to="eigenvalue",
        )  # fmt: skip
        return {
            "values": np.asarray(found.values).tolist(), "products": int(found.num_matvecs),
            "residual": float((found.residuals / found.values).max()), "converged": bool(found.converged.all()),
        }  # fmt: skip

    return run


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        _worker(json.loads(sys.argv[2]))
