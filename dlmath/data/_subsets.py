"""Parts of a data set: fewer points, or two of its classes."""

from collections.abc import Callable, Sequence

import numpy as np

from dlmath import check
from dlmath.data._dataset import Dataset, check_labels, checked
from dlmath.typing import Key


def subset(
    dataset: Dataset, num_train: int | None = None, num_test: int | None = None, *, balanced: bool = False
) -> Dataset:
    """The first points of a data set, in their order; or the first of each class.

    Args:
        dataset: any data set; integer labels if `balanced`.
        num_train: number of training points to keep; None keeps all.
        num_test: number of test points to keep; None keeps all.
        balanced: take num_train / c of each of the c classes (likewise num_test), still in stored order.

    Raises:
        ValueError: if there are too few points, or a balanced number is not a multiple of c.

    >>> import dlmath as dm, numpy as np
    >>> dataset = dm.data.subset(dm.data.digits(), 100, balanced=True)
    >>> np.bincount(dataset.y)
    array([10, 10, 10, 10, 10, 10, 10, 10, 10, 10])
    """
    dataset = checked(dataset)
    return _chosen(dataset, num_train, num_test, balanced, np.arange(len(dataset.y)), np.arange(len(dataset.y_test)))


def random_subset(
    key: Key, dataset: Dataset, num_train: int | None = None, num_test: int | None = None, *, balanced: bool = False
) -> Dataset:
    """A uniformly random part of a data set, without replacement; the same key gives nested parts.

    Args:
        key: typed key; the training and the test part are drawn independently.
        dataset: any data set; integer labels if `balanced`.
        num_train: number of training points; None takes all, in random order.
        num_test: number of test points; None takes all, in random order.
        balanced: draw num_train / c of each of the c classes (likewise num_test).

    Raises:
        ValueError: if there are too few points, or a balanced number is not a multiple of c.

    >>> import dlmath as dm, jax
    >>> dm.data.random_subset(jax.random.key(0), dm.data.digits(), 50, 20).x.shape
    (50, 8, 8, 1)
    """
    import jax

    key = check.key("key", key)
    dataset = checked(dataset)
    key_train, key_test = jax.random.split(key)
    order = np.asarray(jax.random.permutation(key_train, len(dataset.y)))
    order_test = np.asarray(jax.random.permutation(key_test, len(dataset.y_test)))
    return _chosen(dataset, num_train, num_test, balanced, order, order_test)


def class_pair(dataset: Dataset, classes: Sequence[int], *, labels: Sequence[int] = (0, 1)) -> Dataset:
    """The points of two classes, with new labels.

    Args:
        dataset: integer labels.
        classes: the two classes to keep, such as (4, 9).
        labels: their new labels, in the same order; (-1, 1) for margins.

    Returns:
        The Dataset with int32 labels, points in stored order.

    Raises:
        ValueError: if a class does not occur, or the two are the same.

    >>> import dlmath as dm, numpy as np
    >>> dataset = dm.data.class_pair(dm.data.digits(), (4, 9), labels=(-1, 1))
    >>> np.unique(dataset.y)
    array([-1,  1], dtype=int32)
    """
    dataset = checked(dataset)
    present = check_labels(dataset)
    classes = _two_integers("classes", classes)
    labels = _two_integers("labels", labels)
    for label in classes:
        if label not in present:
            raise ValueError(f"classes must occur in the data set, got {label}; there are {present.tolist()}")

    def keep(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        kept = np.isin(y, classes)
        return x[kept], np.where(y[kept] == classes[0], *labels).astype(np.int32)

    return Dataset(*keep(dataset.x, dataset.y), *keep(dataset.x_test, dataset.y_test))


def _chosen(
    dataset: Dataset,
    num_train: int | None,
    num_test: int | None,
    balanced: bool,
    order: np.ndarray,
    order_test: np.ndarray,
) -> Dataset:
    if balanced:
        classes = check_labels(dataset)
        choose: Callable = lambda name, y, order, num: _first_of_each(name, y, order, num, classes)
    else:
        choose = _first
    train = choose("num_train", dataset.y, order, num_train)
    test = choose("num_test", dataset.y_test, order_test, num_test)
    return Dataset(dataset.x[train], dataset.y[train], dataset.x_test[test], dataset.y_test[test])


def _first(name: str, y: np.ndarray, order: np.ndarray, num: int | None) -> np.ndarray:
    if num is None:
        return order
    num = check.positive_int(name, num)
    if num > len(y):
        raise ValueError(f"{name} must be at most the {len(y)} points there are, got {num}")
    return order[:num]


def _first_of_each(name: str, y: np.ndarray, order: np.ndarray, num: int | None, classes: np.ndarray) -> np.ndarray:
    if num is None:
        return order
    num = check.positive_int(name, num)
    each, rest = divmod(num, len(classes))
    if rest:
        raise ValueError(f"{name} must be a multiple of the {len(classes)} classes to be balanced, got {num}")
    members = [np.flatnonzero(y[order] == label) for label in classes]
    fewest = min(len(member) for member in members)
    if each > fewest:
        raise ValueError(
            f"{name} must be at most {fewest * len(classes)} to be balanced (the rarest class has {fewest} points), got {num}"
        )
    return order[np.sort(np.concatenate([member[:each] for member in members]))]


def _two_integers(name: str, values: Sequence[int]) -> tuple[int, int]:
    values = tuple(values)
    if len(values) != 2:
        raise ValueError(f"{name} must be two integers such as (4, 9), got {values}")
    first, second = (check.integer(name, int(value) if isinstance(value, np.integer) else value) for value in values)
    if first == second:
        raise ValueError(f"{name} must be two different integers, got {values}")
    return first, second
