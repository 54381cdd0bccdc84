"""One door to the real data sets: a name and options."""

import inspect
from collections.abc import Callable
from typing import Any

from dlmath import check
from dlmath.data._dataset import Dataset
from dlmath.data._diabetes import diabetes
from dlmath.data._images import cifar10, digits, fashion_mnist, mnist
from dlmath.data._inputs import flatten as _flatten
from dlmath.data._inputs import standardize as _standardize
from dlmath.data._inputs import whiten as _whiten
from dlmath.data._labels import one_hot as _one_hot
from dlmath.data._labels import with_label_noise, with_random_labels
from dlmath.data._mnist1d import mnist1d
from dlmath.data._subsets import class_pair, random_subset, subset
from dlmath.data._text import tiny_shakespeare
from dlmath.data._uci import uci
from dlmath.typing import Key

_CLASSIFICATION: dict[str, Callable[..., Dataset]] = {
    "digits": digits,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
    "mnist1d": mnist1d,
}
_OTHERS: dict[str, Callable[..., Dataset]] = {"diabetes": diabetes, "uci": uci, "tiny_shakespeare": tiny_shakespeare}
NAMES = (*_CLASSIFICATION, *_OTHERS)
"""Names of the data sets that `load` knows."""


def load(name: str, /, **options: Any) -> Dataset:
    """A real data set by name, prepared as the options say.

    The names are "digits" and "diabetes" (parts of scikit-learn, always there), "mnist", "fashion_mnist", "cifar10",
    "mnist1d", "uci" and "tiny_shakespeare"; each is also a function of this package, whose arguments are options here. Files
    are looked for in the folder named by the environment variable DLMATH_DATA, then in the user's cache folder,
    then downloaded from their public source; their content is checked against SHA-256.

    For the classification sets there are these options besides, applied in this order:

    ==================  ==============================================================================
    classes, labels     keep two classes, `class_pair(dataset, classes, labels=labels)`
    num_train           number of training points, `subset`: the first ones
    num_test            number of test points, likewise
    balanced            as many of each class
    subset_key          draw the points instead, `random_subset(subset_key, ...)`
    random_labels=True  `with_random_labels(key, dataset)`
    label_noise         fraction, `with_label_noise(key, dataset, label_noise, replacement=replacement)`
    key                 for random labels or label noise
    standardize         True or "feature", "channel", "all": `standardize(dataset, per=...)`
    whiten              True or "zca", "pca": `whiten(dataset, method=...)`
    flatten=True        inputs as vectors
    one_hot=True        labels as indicator vectors
    ==================  ==============================================================================

    Args:
        name: which data set.
        **options: see above.

    Returns:
        Dataset of NumPy arrays.

    Raises:
        ValueError, TypeError: for unknown names and options, and for options without what they need.
        DownloadError: if a file is neither on this machine nor could be downloaded.
        DamagedFileError: if a file on this machine is not what it should be.

    >>> dataset = load("digits", classes=(4, 9), labels=(-1, 1), num_train=100, flatten=True)
    >>> dataset.x.shape, int(dataset.y.min())
    ((100, 64), -1)
    """
    check.one_of("name", name, NAMES)
    loader = _CLASSIFICATION.get(name) or _OTHERS[name]
    preparing = set(inspect.signature(_prepare).parameters) - {"dataset"} if name in _CLASSIFICATION else set()
    loading = set(inspect.signature(loader).parameters)
    for option in options:
        if option not in loading | preparing:
            known = sorted(loading | preparing)
            raise TypeError(
                f"load({name!r}) has no option {option!r}{check.did_you_mean(option, known)}; its options are "
                + ", ".join(known)
            )
    dataset = loader(**{option: value for option, value in options.items() if option in loading})
    return _prepare(dataset, **{option: value for option, value in options.items() if option in preparing})


def _prepare(
    dataset: Dataset,
    *,
    classes: Any = None,
    labels: Any = None,
    num_train: int | None = None,
    num_test: int | None = None,
    balanced: bool = False,
    subset_key: Key | None = None,
    random_labels: bool = False,
    label_noise: float | int | None = None,
    replacement: str | None = None,
    key: Key | None = None,
    standardize: bool | str = False,
    whiten: bool | str = False,
    flatten: bool = False,
    one_hot: bool = False,
) -> Dataset:
    _check_together(
        classes=classes,
        labels=labels,
        random_labels=random_labels,
        label_noise=label_noise,
        key=key,
        replacement=replacement,
    )
    if classes is not None:
        dataset = class_pair(dataset, classes, labels=(0, 1) if labels is None else labels)
    if subset_key is not None:
        dataset = random_subset(subset_key, dataset, num_train, num_test, balanced=balanced)
    elif (num_train, num_test) != (None, None):
        dataset = subset(dataset, num_train, num_test, balanced=balanced)
    elif balanced:
        raise ValueError("balanced needs num_train or num_test: say how many points to take")
    if random_labels:
        dataset = with_random_labels(key, dataset)  # type: ignore[arg-type]  # checked above
    if label_noise is not None:
        replacement = replacement or "other_class"
        dataset = with_label_noise(key, dataset, label_noise, replacement=replacement)  # type: ignore[arg-type]  # checked above
    if standardize is not False:
        dataset = _standardize(dataset, per="feature" if standardize is True else standardize)
    if whiten is not False:
        dataset = _whiten(dataset, method="zca" if whiten is True else whiten)
    if flatten:
        dataset = _flatten(dataset)
    if one_hot:
        # All of these sets have ten classes, even where a small subset does not show them.
        dataset = _one_hot(dataset, 10 if classes is None else None)
    return dataset


def _check_together(*, classes, labels, random_labels, label_noise, key, replacement) -> None:
    if labels is not None and classes is None:
        raise ValueError("labels needs classes: name the two classes to keep, such as classes=(4, 9)")
    if random_labels and label_noise is not None:
        raise ValueError("random_labels and label_noise exclude each other: random labels have no clean part; drop one")
    draws = random_labels or label_noise is not None
    if draws and key is None:
        raise ValueError("key is needed by random_labels and label_noise: pass key=jax.random.key(0)")
    if key is not None and not draws:
        raise ValueError("key is only used by random_labels and label_noise; to draw a subset, pass subset_key")
    if replacement is not None and label_noise is None:
        raise ValueError("replacement needs label_noise: say which fraction of the labels to replace")
