"""Results of a run: one xarray Dataset a study, read by path, resampled over seeds for the bootstrap."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

MISSING, OK, NON_FINITE, FAILED = 0, 1, 2, 3
"""Values of the variable `status`, one an entry of the grid (and a seed)."""


class Results(Mapping[str, xr.Dataset]):
    """Datasets by study; `results["study/variable"]` is a DataArray.

    It remembers in `accessed` which studies were read, so that a claim is called incomplete only when
    what it rests on is.
    """

    def __init__(self, datasets: Mapping[str, xr.Dataset]) -> None:
        self._datasets = dict(datasets)
        self.accessed: set[str] = set()

    def __getitem__(self, path: str) -> Any:
        study, _, variable = path.strip("/").partition("/")
        if study not in self._datasets:
            raise KeyError(f"no study {study!r}; there are {', '.join(self._datasets)}")
        self.accessed.add(study)
        dataset = self._datasets[study]
        if not variable:
            return dataset
        if variable not in dataset:
            raise KeyError(f"study {study!r} has no variable {variable!r}; it has {', '.join(map(str, dataset))}")
        return dataset[variable]

    def __iter__(self) -> Iterator[str]:
        return iter(self._datasets)

    def __len__(self) -> int:
        return len(self._datasets)

    def datatree(self) -> xr.DataTree:
        """The same as one xarray DataTree, with text as variable-length strings (Zarr specifies no other)."""
        return xr.DataTree.from_dict({name: _with_strings(dataset) for name, dataset in self._datasets.items()})

    def num_seeds(self, study: str) -> int | None:
        """Number of seeds of a study, None if it is deterministic."""
        return self._datasets[study].sizes.get("seed")

    def complete(self, study: str) -> bool:
        """Whether every unit of a study was computed."""
        return bool(np.isin(self._datasets[study]["status"].to_numpy(), (OK, NON_FINITE)).all())

    def resampled(self, uniforms: Mapping[int, np.ndarray]) -> "Results":
        """Seeds drawn with replacement: `uniforms[n]` holds n indices for studies of n seeds."""
        drawn = {}
        for name, dataset in self._datasets.items():
            n = dataset.sizes.get("seed")
            if n is not None and name in self.accessed:
                # As coordinate labels the old ones would repeat; a bootstrap sample has positions only.
                drawn[name] = dataset.isel(seed=uniforms[n]).assign_coords(seed=np.arange(n))
            else:
                drawn[name] = dataset
        return Results(drawn)


def normalise(output: Any, num_seeds: int | None) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """What a `measure` returned, as name -> (dims, NumPy array).

    Raises:
        TypeError, ValueError: naming the variable whose dimensions cannot be told.
    """
    if not isinstance(output, Mapping):
        raise TypeError(f"measure must return a mapping of names to arrays, got {type(output).__name__}")
    plain = ("seed",) if num_seeds is not None else ()
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for name, value in output.items():
        if not isinstance(name, str) or "/" in name or name in ("seed", "status", ""):
            raise ValueError(
                f"measure returned a variable called {name!r}; choose a name without '/', not seed or status"
            )
        dims, array = value if isinstance(value, tuple) else (plain, value)
        dims, array = (dims,) if isinstance(dims, str) else tuple(dims), np.asarray(array)
        if array.ndim != len(dims):
            raise ValueError(
                f"measure returned {name!r} of shape {array.shape} for the dimensions {dims};"
                " return (dims, array) with a name for each dimension"
            )
        if "seed" in dims and array.shape[dims.index("seed")] != num_seeds:
            raise ValueError(
                f"measure returned {name!r} with {array.shape[dims.index('seed')]} entries along 'seed',"
                f" expected {num_seeds}, one for each key"
            )
        if array.dtype.hasobject:
            raise TypeError(f"measure returned {name!r} of dtype {array.dtype}; return numbers, booleans or text")
        variables[name] = dims, array
    return variables


class Assembler:
    """Places units into preallocated arrays; sizes that differ between units are an error."""

    def __init__(self, axes: Mapping[str, list[Any]], seeds: list[int] | None) -> None:
        self.axes = {name: sorted(points) if _numeric(points) else list(points) for name, points in axes.items()}
        self.seeds = seeds
        self.dims = (*self.axes, *(() if seeds is None else ("seed",)))
        self.status = np.zeros(
            [len(self.axes[n]) for n in self.axes] + ([] if seeds is None else [len(seeds)]), np.int8
        )
        self.variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
        self.coordinates: dict[str, np.ndarray] = {}

    def add(
        self,
        point: Mapping[str, Any],
        block: range,
        variables: Mapping[str, tuple[tuple[str, ...], np.ndarray]],
        status: np.ndarray,
    ) -> None:
        """Adds the unit at `point` whose seeds are `block`."""
        where = tuple(self.axes[name].index(point[name]) for name in self.axes)
        wanted = [s in self._seed_set for s in block] if self.seeds is not None else []
        places = (
            [self.seeds.index(s) for s, w in zip(block, wanted, strict=True) if w] if self.seeds is not None else []
        )
        for name, (dims, array) in variables.items():
            if dims == (name,):
                self._coordinate(name, array)
                continue
            target_dims = (*self.axes, *dims)
            has_seed = "seed" in dims
            shape = tuple(
                len(self.seeds or ()) if dim == "seed" else size for dim, size in zip(dims, array.shape, strict=True)
            )
            target = self._target(name, target_dims, shape, array.dtype)
            if has_seed:
                axis = dims.index("seed")
                index = tuple(places if i == axis else slice(None) for i in range(len(dims)))
                target[where][index] = np.compress(wanted, array, axis=axis)
            else:
                target[where] = array
        self.status[where + ((places,) if self.seeds is not None else ())] = (
            np.compress(wanted, status) if self.seeds is not None else status
        )

    def dataset(self) -> xr.Dataset:
        """The assembled dataset, with `status` beside the variables."""
        coordinates: dict[str, Any] = dict(self.axes)
        if self.seeds is not None:
            coordinates["seed"] = self.seeds
        coordinates |= self.coordinates
        variables: dict[str, Any] = {name: (dims, array) for name, (dims, array) in self.variables.items()}
        variables["status"] = (self.dims, self.status)
        return xr.Dataset(variables, coords=coordinates)

    @property
    def _seed_set(self) -> set[int]:
        return set(self.seeds or ())

    def _coordinate(self, name: str, array: np.ndarray) -> None:
        known = self.coordinates.setdefault(name, array)
        if known.shape != array.shape or not np.array_equal(known, array):
            raise ValueError(
                f"coordinate {name!r} differs between units; record it as a variable with a common dimension"
            )

    def _target(self, name: str, dims: tuple[str, ...], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        full = tuple(len(points) for points in self.axes.values()) + shape
        if name not in self.variables:
            fill = np.nan if dtype.kind in "fc" else np.zeros((), dtype)
            self.variables[name] = dims, np.full(full, fill, dtype)
        known_dims, target = self.variables[name]
        if known_dims != dims or target.shape != full or (target.dtype != dtype and dtype.kind not in "US"):
            raise ValueError(
                f"variable {name!r} has dims {dims}, shape {full}, dtype {dtype} in one unit and {known_dims},"
                f" {target.shape}, {target.dtype} in another; units must agree"
            )
        if target.dtype != dtype and dtype.itemsize > target.dtype.itemsize:
            target = target.astype(dtype)
            self.variables[name] = dims, target
        return target


def _with_strings(dataset: xr.Dataset) -> xr.Dataset:
    text = {n: v.astype(np.dtypes.StringDType()) for n, v in dataset.variables.items() if v.dtype.kind in "US"}
    return dataset.assign({n: v for n, v in text.items() if n not in dataset.coords}).assign_coords(
        {n: v for n, v in text.items() if n in dataset.coords}
    )


def _numeric(points: list[Any]) -> bool:
    return all(isinstance(p, int | float) and not isinstance(p, bool) for p in points)
