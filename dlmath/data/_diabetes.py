"""The diabetes set, a small regression set that is always at hand."""

from typing import Any

import numpy as np

from dlmath import check
from dlmath.data._dataset import Dataset, float_dtype
from dlmath.data._inputs import standardize as _standardize


def diabetes(split: int = 0, *, standardize: bool = False, dtype: Any = "float32") -> Dataset:
    """Disease progression of 442 patients from 10 measurements; part of scikit-learn, no download.

    A random split, 397 patients to train and 45 to test, as in the protocol of the UCI sets (`uci`).

    Args:
        split: seed of the split, 0 or more.
        standardize: as in `uci`.
        dtype: "float32" or "float64".

    Returns:
        Dataset with x of shape [n, 10] and real y of shape [n], from 25 to 346.

    Raises:
        ValueError: for a negative split.

    >>> diabetes(3).x.shape
    (397, 10)

    References: Efron, Hastie, Johnstone and Tibshirani, "Least angle regression", 2004.
    """
    split = check.integer("split", split, at_least=0)
    dtype = float_dtype(dtype)
    from sklearn.datasets import load_diabetes

    stored: Any = load_diabetes()
    rows = np.random.default_rng(split).permutation(len(stored.target))
    x, y, cut = stored.data[rows], stored.target[rows], len(rows) * 9 // 10
    dataset = Dataset(x[:cut], y[:cut], x[cut:], y[cut:])
    if standardize:
        dataset = _standardize(dataset, targets=True)
    return Dataset(*(array.astype(dtype) for array in dataset))
