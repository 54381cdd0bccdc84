"""The record every data set comes as."""

from typing import Any, NamedTuple

import numpy as np

from dlmath import check


class Dataset(NamedTuple):
    """Training and test pairs; batch axis first, features last.

    Real data come as NumPy arrays, so that loading puts nothing on an accelerator; generators return
    JAX arrays. Every function that takes a Dataset takes either and returns NumPy arrays.

    Attributes:
        x: training inputs, [n, ...]; images are [n, height, width, channels] in [0, 1].
        y: training targets, [n] integers for classes, [n] reals for regression, [n, k] one-hot.
        x_test: test inputs, [m, ...].
        y_test: test targets, like `y`.
    """

    x: Any
    y: Any
    x_test: Any
    y_test: Any


def checked(dataset: Dataset) -> Dataset:
    """The same data as NumPy arrays, after checking that inputs and targets pair up."""
    if not (isinstance(dataset, tuple) and len(dataset) == 4):
        raise TypeError(
            f"dataset must be a Dataset(x, y, x_test, y_test), got {type(dataset).__name__}; build one with data.Dataset"
        )
    arrays = Dataset(*(np.asarray(array) for array in dataset))
    check.array("dataset.x", arrays.x)
    check.array("dataset.y", arrays.y)
    check.array("dataset.x_test", arrays.x_test, nonempty=False)
    check.array("dataset.y_test", arrays.y_test, nonempty=False)
    check.same_length("dataset.x", arrays.x, "dataset.y", arrays.y)
    check.same_length("dataset.x_test", arrays.x_test, "dataset.y_test", arrays.y_test)
    if arrays.x.shape[1:] != arrays.x_test.shape[1:]:
        raise ValueError(
            "dataset.x and dataset.x_test must hold inputs of one shape, got "
            f"{arrays.x.shape[1:]} and {arrays.x_test.shape[1:]}"
        )
    return arrays


def check_labels(dataset: Dataset) -> np.ndarray:
    """The sorted class labels that occur in a classification data set; raises for other targets."""
    for name, labels in (("dataset.y", dataset.y), ("dataset.y_test", dataset.y_test)):
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ValueError(
                f"{name} must be integer class labels of shape [n], got shape {labels.shape} and dtype "
                f"{labels.dtype}; apply this before one_hot, and not to regression data"
            )
    return np.unique(np.concatenate([dataset.y, dataset.y_test]))


def float_dtype(dtype: Any) -> np.dtype:
    """`dtype` as a NumPy dtype; raises unless it is float32 or float64."""
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = dtype
    return np.dtype(check.one_of("dtype", name, ("float32", "float64")))
