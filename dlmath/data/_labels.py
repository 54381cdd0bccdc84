"""Maps of a Dataset that act on its class labels: one-hot codes, label noise, random labels."""

from typing import Any

import numpy as np

from dlmath import check
from dlmath.data._dataset import Dataset, check_labels, checked, float_dtype
from dlmath.typing import Key


def one_hot(
    dataset: Dataset,
    num_classes: int | None = None,
    *,
    on_value: float | int = 1.0,
    off_value: float | int = 0.0,
    dtype: Any = None,
) -> Dataset:
    """Labels as indicator vectors: y[i, k] = on_value if point i is in class k, else off_value.

    Args:
        dataset: labels 0, 1, ..., in training and test part.
        num_classes: length of the vectors; None means one more than the largest label.
        on_value: 1 by default; (on, off) = (0.9, -0.1) centres ten classes.
        off_value: 0 by default.
        dtype: "float32" or "float64"; None means that of real inputs, else float32.

    Raises:
        ValueError: for labels that are not 0, 1, ..., num_classes - 1.

    >>> import dlmath as dm
    >>> dataset = dm.data.one_hot(dm.data.digits())
    >>> dataset.y.shape, float(dataset.y.sum())
    ((1297, 10), 1297.0)
    """
    dataset = checked(dataset)
    classes = check_labels(dataset)
    if num_classes is None:
        num_classes = int(classes.max()) + 1
    num_classes = check.positive_int("num_classes", num_classes)
    if classes.min() < 0:
        raise ValueError(f"dataset must have labels 0, 1, ... for one_hot, got labels {classes.tolist()}")
    if classes.max() >= num_classes:
        raise ValueError(f"num_classes must exceed every label, got {num_classes} and the label {classes.max()}")
    on_value, off_value = check.real("on_value", on_value), check.real("off_value", off_value)
    if dtype is None:
        dtype = dataset.x.dtype if dataset.x.dtype.kind == "f" else "float32"
    codes = np.where(np.eye(num_classes, dtype=bool), on_value, off_value).astype(float_dtype(dtype))
    return dataset._replace(y=codes[dataset.y], y_test=codes[dataset.y_test])


def with_label_noise(key: Key, dataset: Dataset, fraction: float | int, *, replacement: str = "other_class") -> Dataset:
    """Training labels of which each is, with probability `fraction`, replaced by a random one; test labels stay.

    With "other_class" the new label is uniform over the other c - 1 classes, so that `fraction` is the expected
    fraction of wrong labels (Nakkiran et al. 2020). With "any_class" it is uniform over all c, and a fraction
    (1 - 1/c) · fraction is wrong (Zhang et al. 2017). The draws do not depend on `fraction`: with the same key the
    labels replaced at a smaller fraction are among those replaced at a larger one, by the same labels.

    Args:
        key: typed key.
        dataset: integer labels of c classes.
        fraction: probability of replacement, 0 to 1.
        replacement: "other_class" or "any_class".

    Raises:
        ValueError: for a fraction outside [0, 1] or a single class.

    >>> import dlmath as dm, jax
    >>> clean = dm.data.digits()
    >>> noisy = dm.data.with_label_noise(jax.random.key(0), clean, 0.15)
    >>> 0.11 < float((noisy.y != clean.y).mean()) < 0.19
    True

    References: Nakkiran et al., "Deep double descent", 2020, section 4; Zhang et al., "Understanding deep
    learning requires rethinking generalization", 2017, section 2.
    """
    import jax

    key = check.key("key", key)
    dataset = checked(dataset)
    classes = check_labels(dataset)
    fraction = check.real("fraction", fraction, at_least=0.0, at_most=1.0)
    check.one_of("replacement", replacement, ("other_class", "any_class"))
    count, num_classes = len(dataset.y), len(classes)
    if num_classes < 2:
        raise ValueError(f"dataset must have at least two classes for label noise, got only {classes.tolist()}")
    key_which, key_label = jax.random.split(key)
    # Fixed dtypes: the same key gives the same labels with and without 64-bit JAX.
    chosen = np.asarray(jax.random.uniform(key_which, (count,), "float32")) < fraction
    lowest = 1 if replacement == "other_class" else 0
    shift = np.asarray(jax.random.randint(key_label, (count,), lowest, num_classes, "int32"))
    position = np.searchsorted(classes, dataset.y)
    replaced = classes[(position + shift) % num_classes].astype(dataset.y.dtype)
    return dataset._replace(y=np.where(chosen, replaced, dataset.y))


def with_random_labels(key: Key, dataset: Dataset) -> Dataset:
    """Training labels drawn once, uniformly and independently of the inputs; test labels stay.

    Args:
        key: typed key; the labels are fixed by it.
        dataset: integer labels, whose classes are the ones to draw from.

    >>> import dlmath as dm, jax
    >>> clean = dm.data.digits()
    >>> noisy = dm.data.with_random_labels(jax.random.key(0), clean)
    >>> 0.07 < float((noisy.y == clean.y).mean()) < 0.13
    True

    References: Zhang et al., "Understanding deep learning requires rethinking generalization", 2017.
    """
    import jax

    key = check.key("key", key)
    dataset = checked(dataset)
    classes = check_labels(dataset)
    drawn = np.asarray(jax.random.randint(key, dataset.y.shape, 0, len(classes), "int32"))
    return dataset._replace(y=classes[drawn].astype(dataset.y.dtype))
