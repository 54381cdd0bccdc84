"""Gram matrices in tiles: equal to dense ones, through kills, damage, workers and devices."""

import functools
import json
import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zarr

import dlmath as dm
from dlmath import files, ntk

X, OTHER = np.random.default_rng(0).normal(size=(11, 3)), np.random.default_rng(1).normal(size=(7, 3))
TILES = 6
"""On and above the diagonal, of side 4."""


@pytest.fixture(autouse=True)
def _double(float64):
    pass


def distance(x1, x2=None):
    """A kernel whose entries do not depend on the tile they are in, to the last bit."""
    return np.abs(x1[:, None] - (x1 if x2 is None else x2)).max(-1)


class Counted:
    """`distance` that counts its tiles and breaks in one of them; its first call is to recognise it by."""

    def __init__(self, broken=None):
        self.calls, self.broken = -1, broken

    def __call__(self, x1, x2=None):
        if self.calls == self.broken:
            raise KeyboardInterrupt
        self.calls += 1
        return distance(x1, x2)


def interrupted(store, tile):
    with pytest.raises(KeyboardInterrupt):
        ntk.gram(Counted(tile), X, block_size=4, store=store)


# What it is ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_size", [1, 4, 5, 10, 11, 50])
def test_tiles_of_any_size_make_the_dense_matrix(tmp_path, block_size):
    for x2 in (None, OTHER):
        kernel = Counted()
        store = tmp_path / str(x2 is None)
        np.testing.assert_array_equal(ntk.gram(distance, X, x2, block_size=block_size), distance(X, x2))
        stored = ntk.gram(kernel, X, x2, block_size=block_size, store=store)
        np.testing.assert_array_equal(np.asarray(stored), distance(X, x2))
        assert stored.shape == distance(X, x2).shape
        rows = -(-11 // block_size)
        assert kernel.calls == (rows * (rows + 1) // 2 if x2 is None else rows * -(-7 // block_size))


def test_rows_of_a_stored_matrix_are_those_of_the_whole(tmp_path):
    for name, x2 in (("symmetric", None), ("other", OTHER)):
        ntk.gram(distance, X, x2, block_size=4, store=tmp_path / name)
        stored = ntk.read_gram(tmp_path / name)
        for start, stop in ((0, 11), (0, 1), (3, 9), (10, 11)):
            np.testing.assert_array_equal(stored.rows(start, stop), distance(X, x2)[start:stop])


def test_zarr_reads_the_tiles_on_and_above_the_diagonal_and_finds_none_below(tmp_path):
    ntk.gram(distance, X, block_size=4, store=tmp_path / "k")
    found = zarr.open_array(str(tmp_path / "k"), mode="r")[:]
    below = (np.arange(11)[:, None] // 4) > np.arange(11) // 4
    np.testing.assert_array_equal(found, np.where(below, np.nan, distance(X)))
    checked = subprocess.run(["sha256sum", "-c", "tiles.sha256"], cwd=tmp_path / "k", capture_output=True, check=False)
    assert checked.returncode == 0


def test_a_stored_matrix_takes_the_place_of_one_in_memory(tmp_path):
    kernel = dm.kernels.gaussian(rate=0.7)
    stored = ntk.gram(kernel, X, block_size=4, store=tmp_path / "k")
    dense = kernel(jnp.asarray(X))
    grams = ntk.Grams(stored, kernel(jnp.asarray(OTHER), jnp.asarray(X)))
    np.testing.assert_allclose(stored, dense, rtol=1e-13)
    for found, expected in (
        (ntk.spectrum(stored).eigenvalues, ntk.spectrum(dense).eigenvalues),
        (ntk.gp_posterior(grams, X[:, 0], noise=0.1).mean, ntk.gp_posterior(grams._replace(train=dense), X[:, 0], noise=0.1).mean),
    ):  # fmt: skip
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-14)


def test_products_of_a_stored_matrix_read_each_tile_once(tmp_path, monkeypatch):
    stored = ntk.gram(distance, X, block_size=4, store=tmp_path / "k")
    np.testing.assert_array_equal(stored.diagonal(), np.diagonal(distance(X)))
    vectors, read = np.random.default_rng(2).normal(size=(11, 3)), []
    tile = type(stored).tile
    monkeypatch.setattr(type(stored), "tile", lambda self, i, j: read.append((i, j)) or tile(self, i, j))
    np.testing.assert_allclose(stored.operator()(vectors), distance(X) @ vectors, rtol=1e-13)
    assert sorted(read) == sorted(set(read)) == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    shifted = dm.linalg.shift(stored.operator(), 20.0)
    found = dm.linalg.solve(shifted, vectors, tol=1e-12)
    np.testing.assert_allclose(found.x, np.linalg.solve(distance(X) + 20 * np.eye(11), vectors), atol=1e-11)


def test_an_empirical_kernel_partially_applied_is_that_of_all_examples(float64, tmp_path):
    model = dm.models.mlp([5], 2)
    params = model.init(jax.random.key(0), X)
    kernel = functools.partial(ntk.empirical, model.apply, params, outputs="trace")
    found = ntk.gram(kernel, X, block_size=6, store=tmp_path / "k")
    np.testing.assert_allclose(found, kernel(X), rtol=1e-12, atol=1e-12)
    moved = functools.partial(
        kernel.func, model.apply, jax.tree.map(lambda leaf: leaf + 1e-12, params), outputs="trace"
    )
    with pytest.raises(ValueError, match="another kernel: other parameters are bound to it"):
        ntk.gram(moved, X, block_size=6, store=tmp_path / "k")


def linear(x1, x2=None):
    return x1 @ (x1 if x2 is None else x2).T


def tile_bytes(side):
    """Of a tile of `linear`: two sets of rows, and the entries on the device, as it returns them and as they are written."""
    return 8 * (2 * 3 * side + 3 * side**2)


@pytest.mark.parametrize("side", [1, 2, 3, 5, 9])
def test_tiles_are_as_large_as_memory_allows(tmp_path, side):
    inputs, matrix = X.nbytes, 8 * 11 * 11
    allowed = inputs + len(jax.local_devices()) * tile_bytes(side)
    stored = ntk.gram(linear, X, block_size=9, memory=allowed, store=tmp_path / "k")
    np.testing.assert_allclose(stored, X @ X.T, rtol=1e-12, atol=1e-14)
    # Tiles of a row are of equal size: eleven rows in as few as are no longer than `side`.
    assert stored.layout.sides == (-(-11 // -(-11 // side)),) * 2
    np.testing.assert_allclose(ntk.gram(linear, X, memory=allowed + matrix), X @ X.T, rtol=1e-12, atol=1e-14)
    short = allowed + matrix - 1 if side == 1 else allowed + matrix - len(jax.local_devices()) * tile_bytes(side)
    with pytest.raises(ValueError, match=r"memory must hold the inputs, .*, and the matrix .* give a store"):
        ntk.gram(linear, X, block_size=1 if side == 1 else 9, memory=short)


def test_temporaries_of_a_kernel_make_tiles_smaller(tmp_path):
    hungry = lambda x1, x2=None: jnp.linalg.qr(jnp.ones((400, 50)) * (1 + 0 * x1[0, 0]))[1][0, 0] * 0 + linear(x1, x2)
    with pytest.raises(ValueError, match="by its compiled program"):
        ntk.gram(hungry, X, memory=X.nbytes + tile_bytes(11), store=tmp_path / "k")


# Kills and damage ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", range(TILES))
def test_a_run_that_was_interrupted_computes_the_missing_tiles_only(tmp_path, tile):
    interrupted(tmp_path / "k", tile)
    with pytest.raises(files.DamagedFileError, match=f"lacks {TILES - tile} of {TILES} tiles"):
        ntk.read_gram(tmp_path / "k")
    kernel = Counted()
    np.testing.assert_array_equal(ntk.gram(kernel, X, block_size=4, store=tmp_path / "k"), distance(X))
    assert kernel.calls == TILES - tile


KILLED = """
import os, signal, sys
import jax
import numpy as np
from dlmath import files, ntk

jax.config.update("jax_enable_x64", True)
X, calls = np.random.default_rng(0).normal(size=(11, 3)), []
when, store = sys.argv[1:]
if when == "while a tile is written":
    replace = os.replace
    def slowly(source, target):
        replace(source, target) if not str(target).endswith("c/0/2") else os.kill(os.getpid(), signal.SIGKILL)
    os.replace = slowly
if when == "before its line is":
    fsync = os.fsync
    def fatally(descriptor):
        fsync(descriptor)
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if name.endswith("/c/0") and os.path.exists(name + "/2"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.fsync = fatally

def distance(x1, x2=None):
    calls.append(None)
    if when == "while a tile is computed" and len(calls) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return np.abs(x1[:, None] - (x1 if x2 is None else x2)).max(-1)

ntk.gram(distance, X, block_size=4, store=store)
"""


@pytest.mark.parametrize("when", ["while a tile is computed", "while a tile is written", "before its line is"])
def test_a_process_that_is_killed_leaves_whole_tiles_behind(tmp_path, when):
    store = tmp_path / "k"
    killed = subprocess.run([sys.executable, "-c", KILLED, when, str(store)], env=os.environ, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    kernel = Counted()
    np.testing.assert_array_equal(ntk.gram(kernel, X, block_size=4, store=store), distance(X))
    assert kernel.calls == TILES - 2
    assert not list(store.rglob("*.part"))


def test_a_line_cut_short_loses_its_tile_only(tmp_path):
    ntk.gram(distance, X, block_size=4, store=tmp_path / "k")
    manifest = tmp_path / "k" / "tiles.sha256"
    manifest.write_text(manifest.read_text()[:-5])
    kernel = Counted()
    ntk.gram(kernel, X, block_size=4, store=tmp_path / "k")
    assert kernel.calls == 1


@pytest.mark.parametrize("damage", ["altered", "cut short", "removed"])
def test_a_damaged_tile_is_named_and_computed_again(tmp_path, damage):
    stored = ntk.gram(distance, X, block_size=4, store=tmp_path / "k")
    path = tmp_path / "k" / "c" / "1" / "2"
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.unlink() if damage == "removed" else path.write_bytes(content[:-1] if damage == "cut short" else content)
    with pytest.raises(files.DamagedFileError, match="c/1/2"):
        np.asarray(stored)
    np.testing.assert_array_equal(stored.rows(0, 4), distance(X)[:4])
    kernel = Counted()
    np.testing.assert_array_equal(ntk.gram(kernel, X, block_size=4, store=tmp_path / "k"), distance(X))
    assert kernel.calls == 1


def test_an_altered_description_is_noticed(tmp_path):
    ntk.gram(distance, X, block_size=4, store=tmp_path / "k")
    header = tmp_path / "k" / "zarr.json"
    header.write_text(header.read_text().replace("float64", "float32"))
    with pytest.raises(files.DamagedFileError, match=r"zarr\.json does not match its checksum"):
        ntk.gram(distance, X, block_size=4, store=tmp_path / "k")


# What it refuses ----------------------------------------------------------------------------------------------------

OTHERS = {
    "x1: it has float64.*got float64": lambda store: ntk.gram(distance, X + 1e-9, block_size=4, store=store),
    "x1: it has float64.*got float32": lambda store: ntk.gram(distance, np.float32(X), block_size=4, store=store),
    "x2: it has None, got": lambda store: ntk.gram(distance, X, OTHER, block_size=4, store=store),
    "dtype: it has float64, got a kernel of float32": lambda store: ntk.gram(
        lambda x1, x2=None: np.float32(distance(x1, x2)), X, block_size=4, store=store
    ),
    r"block_size: it has tiles \(4, 4\), got \(6, 6\)": lambda store: ntk.gram(distance, X, block_size=6, store=store),
    "kernel: entries .* differ by 1.0e-06": lambda store: ntk.gram(
        lambda x1, x2=None: (1 + 1e-6) * distance(x1, x2), X, block_size=4, store=store
    ),
    "kernel: other parameters are bound": lambda store: ntk.gram(
        functools.partial(lambda scale, x1, x2=None: scale * distance(x1, x2), 1.0), X, block_size=4, store=store
    ),
}


@pytest.mark.parametrize("difference", OTHERS)
def test_a_store_made_from_something_else_is_refused_and_the_difference_named(tmp_path, difference):
    interrupted(tmp_path / "k", 2)
    with pytest.raises(ValueError, match=f"k was made from another {difference}"):
        OTHERS[difference](tmp_path / "k")
    kernel = Counted()
    ntk.gram(kernel, X, block_size=4, store=tmp_path / "k")
    assert kernel.calls == TILES - 2


def test_a_store_that_another_process_fills_and_a_folder_of_something_else_are_refused(tmp_path):
    release = files.try_lock(tmp_path / ".k.lock")
    with pytest.raises(ValueError, match=r"store .*k is being filled by another process"):
        ntk.gram(distance, X, store=tmp_path / "k")
    release()
    files.write_text(tmp_path / "k" / "thesis.tex", "")
    with pytest.raises(ValueError, match=r"store .*k must be a new or an empty folder"):
        ntk.gram(distance, X, store=tmp_path / "k")


# Workers and devices ------------------------------------------------------------------------------------------------


def test_dask_workers_compute_the_same_bits(tmp_path):
    kernel = dm.kernels.gaussian(rate=0.7)
    with dm.repro.dask_engine(workers=1) as engine:
        theirs = ntk.gram(kernel, X, block_size=4, store=tmp_path / "k", engine=engine)
    np.testing.assert_array_equal(theirs, ntk.gram(kernel, X, block_size=4))


FOUR_DEVICES = """
import json, threading
import jax, jax.numpy as jnp, numpy as np
from dlmath import kernels, ntk

x = np.random.default_rng(0).normal(size=(11, 3))
used, smooth, together = set(), kernels.gaussian(rate=0.7), threading.Barrier(4, timeout=60)

def kernel(x1, x2=None):
    found = smooth(jnp.asarray(x1), None if x2 is None else jnp.asarray(x2))
    used.update(str(device) for device in found.devices())
    if spread and len(x1) == 3:
        together.wait()
    return found

spread = True
four = ntk.gram(kernel, x[:8], x, block_size=3)  # 12 tiles, four at a time
spread = False
with jax.default_device(jax.devices()[0]):
    one = np.concatenate([np.asarray(kernel(part, x)) for part in np.split(x[:8], 4)])
print(json.dumps({"devices": len(used), "gap": float(np.abs(four - one).max())}))
"""


def test_tiles_are_computed_on_all_devices_at_a_time():
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "NPROC": "16",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4",
    }
    run = subprocess.run(
        [sys.executable, "-c", FOUR_DEVICES], capture_output=True, text=True, env=environment, check=False, timeout=240
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout)
    assert found["devices"] == 4
    assert found["gap"] < 1e-6
