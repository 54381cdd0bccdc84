"""Malformed calls of dlmath.data: (name, call, exception, pattern of the message)."""

import os
from unittest import mock

import jax
import numpy as np

import dlmath as dm
from dlmath.data import Dataset

KEY = jax.random.key(0)
PAIRS = Dataset(np.zeros((6, 2)), np.arange(6) % 3, np.zeros((3, 2)), np.arange(3))


def _with_folder(folder, call):
    with mock.patch.dict(os.environ, {"DLMATH_DATA": folder}):
        return call()


CASES = [
    ("unknown set", lambda: dm.data.load("mnsit"), ValueError, r"name must be one of 'digits', .*'mnist'\?"),
    (
        "unknown option",
        lambda: dm.data.load("digits", onehot=True),
        TypeError,
        "no option 'onehot'; did you mean 'one_hot'",
    ),
    ("option of another set", lambda: dm.data.load("tiny_shakespeare", whiten=True), TypeError, "no option 'whiten'"),
    (
        "noise without a key",
        lambda: dm.data.load("digits", label_noise=0.1),
        ValueError,
        r"pass key=jax.random.key\(0\)",
    ),
    ("a key for nothing", lambda: dm.data.load("digits", key=KEY), ValueError, "key is only used by .* subset_key"),
    (
        "balanced what",
        lambda: dm.data.load("digits", balanced=True),
        ValueError,
        "balanced needs num_train or num_test",
    ),
    ("labels of no classes", lambda: dm.data.load("digits", labels=(0, 1)), ValueError, "labels needs classes"),
    (
        "noise on random labels",
        lambda: dm.data.load("digits", random_labels=True, label_noise=0.1, key=KEY),
        ValueError,
        "exclude each other",
    ),
    (
        "half precision",
        lambda: dm.data.digits(dtype="float16"),
        ValueError,
        "dtype must be one of 'float32', 'float64'",
    ),
    ("not a dtype", lambda: dm.data.digits(dtype="floaty"), ValueError, "dtype must be .*'floaty'"),
    ("unknown UCI set", lambda: dm.data.uci("yatch"), ValueError, "did you mean 'yacht'"),
    ("negative split", lambda: dm.data.diabetes(-1), ValueError, "split must be non-negative, got -1"),
    ("UCI split too high", lambda: dm.data.uci("protein-tertiary-structure", 5), ValueError, "split must be at most 4"),
    ("CIFAR batch 6", lambda: dm.data.cifar10(batches=(1, 6)), ValueError, "batches must be at most 5, got 6"),
    ("CIFAR batch twice", lambda: dm.data.cifar10(batches=(1, 1)), ValueError, "distinct numbers from 1 to 5"),
    ("CIFAR test on training", lambda: dm.data.cifar10(batches=(1, 2), test_batch=2), ValueError, "must not be one of"),
    ("CIFAR test name", lambda: dm.data.cifar10(test_batch="tset"), ValueError, "did you mean 'test'"),
    ("text window too long", lambda: _long_window(), ValueError, "length must be less than both parts"),
    (
        "no such folder",
        lambda: _with_folder("/no/such/folder", lambda: dm.data.mnist()),
        ValueError,
        "DLMATH_DATA must name a folder, got '/no/such/folder'",
    ),
    ("not a data set", lambda: dm.data.flatten((np.zeros(2), np.zeros(2))), TypeError, r"must be a Dataset\(x, y"),
    (
        "pooling by a side that does not divide",
        lambda: dm.data.average_pool(dm.data.digits(), 3),
        ValueError,
        r"size=3 divides, got \(1297, 8, 8, 1\)",
    ),
    ("pooling of vectors", lambda: dm.data.average_pool(PAIRS, 1), ValueError, r"images \[n, height, width, ...\]"),
    (
        "unpaired data",
        lambda: dm.data.flatten(PAIRS._replace(y=np.zeros(5))),
        ValueError,
        r"dataset.x and dataset.y must have the same number of rows, got shapes \(6, 2\) and \(5,\)",
    ),
    (
        "empty data",
        lambda: dm.data.flatten(Dataset(*[np.zeros((0, 2))] * 4)),
        ValueError,
        "dataset.x must not be empty",
    ),
    (
        "NaN data",
        lambda: dm.data.whiten(PAIRS._replace(x=np.full((6, 2), np.nan))),
        ValueError,
        "dataset.x must be finite",
    ),
    ("subset too large", lambda: dm.data.subset(PAIRS, 7), ValueError, "num_train must be at most the 6 points"),
    ("subset of none", lambda: dm.data.subset(PAIRS, 0), ValueError, "num_train must be positive, got 0"),
    ("uneven balance", lambda: dm.data.subset(PAIRS, 4, balanced=True), ValueError, "multiple of the 3 classes"),
    (
        "too few of a class",
        lambda: dm.data.subset(PAIRS, 6, 6, balanced=True),
        ValueError,
        "num_test must be at most 3",
    ),
    ("absent class", lambda: dm.data.class_pair(PAIRS, (0, 7)), ValueError, r"got 7; there are \[0, 1, 2\]"),
    ("one class twice", lambda: dm.data.class_pair(PAIRS, (1, 1)), ValueError, "two different integers"),
    ("three classes", lambda: dm.data.class_pair(PAIRS, (0, 1, 2)), ValueError, "classes must be two integers"),
    ("one-hot twice", lambda: dm.data.one_hot(dm.data.one_hot(PAIRS)), ValueError, "before one_hot"),
    (
        "codes of signs",
        lambda: dm.data.one_hot(PAIRS._replace(y=PAIRS.y - 1)),
        ValueError,
        "dataset must have labels 0",
    ),
    (
        "too few codes",
        lambda: dm.data.one_hot(PAIRS, 2),
        ValueError,
        "num_classes must exceed every label, got 2 and the label 2",
    ),
    ("noise above one", lambda: dm.data.with_label_noise(KEY, PAIRS, 1.5), ValueError, "fraction must be at most 1"),
    (
        "noise convention",
        lambda: dm.data.with_label_noise(KEY, PAIRS, 0.1, replacement="other"),
        ValueError,
        "did you mean 'other_class'",
    ),
    (
        "old-style key",
        lambda: dm.data.with_random_labels(jax.random.PRNGKey(0), PAIRS),
        TypeError,
        "must be a typed key",
    ),
    ("standardise by row", lambda: dm.data.standardize(PAIRS, per="row"), ValueError, "per must be one of"),
    ("standardise labels", lambda: dm.data.standardize(PAIRS, targets=True), ValueError, "dataset.y must hold real"),
    ("whitening method", lambda: dm.data.whiten(PAIRS, method="zac"), ValueError, "did you mean 'zca'"),
    ("negative damping", lambda: dm.data.whiten(PAIRS, epsilon=-1.0), ValueError, "epsilon must be non-negative"),
    ("seed for a key", lambda: dm.data.moons(0, 10), TypeError, r"key must be a typed key such as jax.random.key\(0\)"),
    ("many keys", lambda: dm.data.moons(jax.random.split(KEY), 10), ValueError, "vmap over it"),
    ("no samples", lambda: dm.data.sphere(KEY, 0, 3), ValueError, "num_samples must be positive, got 0"),
    ("fraction of a sample", lambda: dm.data.rings(KEY, 2.5), TypeError, "num_samples must be an integer, got 2.5"),
    (
        "negative noise",
        lambda: dm.data.noisy_sine(KEY, 3, noise_std=-0.1),
        ValueError,
        "noise_std must be non-negative",
    ),
    (
        "reversed interval",
        lambda: dm.data.noisy_sine(KEY, 3, low=1.0, high=0.0),
        ValueError,
        "high must be greater than 1",
    ),
    (
        "unknown covariance",
        lambda: dm.data.linear_gaussian(KEY, 5, 3, covariance="power-law"),
        ValueError,
        "did you mean 'power_law'",
    ),
    (
        "foreign parameter",
        lambda: dm.data.linear_gaussian(KEY, 5, 3, correlation=0.5),
        TypeError,
        "covariance 'isotropic' has the parameter 'variance', got 'correlation'",
    ),
    (
        "unit root",
        lambda: dm.data.covariance_matrix("ar1", 3, correlation=1.0),
        ValueError,
        "correlation must be less than 1",
    ),
    (
        "too many spikes",
        lambda: dm.data.covariance_matrix("spiked", 1, spikes=(2.0, 3.0)),
        ValueError,
        r"at least the number of spikes \(2\)",
    ),
    (
        "negative spike",
        lambda: dm.data.covariance_matrix("spiked", 3, spikes=(-2.0,)),
        ValueError,
        "spikes must be positive",
    ),
    (
        "coefficients too long",
        lambda: dm.data.linear_gaussian(KEY, 5, 3, coefficients=np.ones(4)),
        ValueError,
        r"coefficients must have shape \(3,\), got \(4,\)",
    ),
    (
        "no teacher",
        lambda: dm.data.teacher_student(KEY, None, (), 5, 3),
        TypeError,
        "apply must be a function, got None",
    ),
    ("flat means", lambda: dm.data.gaussian_mixture(KEY, 5, [0.0, 1.0]), ValueError, "means must have 2 dimensions"),
    (
        "weight too many",
        lambda: dm.data.gaussian_mixture(KEY, 5, [[0.0], [1.0]], weights=[1, 1, 1]),
        ValueError,
        r"weights must be one per component \(2\)",
    ),
    (
        "no weight",
        lambda: dm.data.gaussian_mixture(KEY, 5, [[0.0], [1.0]], weights=[0, 0]),
        ValueError,
        "weights must be non-negative and not all zero",
    ),
    ("peaks in space", lambda: dm.data.peaks(np.zeros((4, 3))), ValueError, r"x must hold points of the plane"),
    (
        "empty slice",
        lambda: dm.data.peaks_classification(KEY, 5, num_classes=50, grid_size=4),
        ValueError,
        "use fewer classes or a finer grid",
    ),
    ("parity of too many", lambda: dm.data.sparse_parity(KEY, 5, 3, 4), ValueError, "degree must be at most 3, got 4"),
    (
        "parity twice of one",
        lambda: dm.data.sparse_parity(KEY, 5, 3, 2, support=(1, 1)),
        ValueError,
        r"support must be 2 different coordinates",
    ),
    ("modulus one", lambda: dm.data.modular_addition(KEY, 1), ValueError, "modulus must be at least 2, got 1"),
    (
        "nothing to train on",
        lambda: dm.data.modular_addition(KEY, 2, train_fraction=0.1),
        ValueError,
        "train_fraction must leave a training point",
    ),
    (
        "crop_and_flip, vectors",
        lambda: dm.data.crop_and_flip(jax.random.key(0), np.ones((3, 4))),
        ValueError,
        "x must have 4 dimensions, got shape",
    ),
    (
        "crop_and_flip, negative padding",
        lambda: dm.data.crop_and_flip(jax.random.key(0), np.ones((3, 4, 4, 1)), padding=-1),
        ValueError,
        "padding must be non-negative, got -1",
    ),
    ("damaged file", lambda: _damaged(), dm.files.DamagedFileError, "delete it and compute it again"),
]


def _long_window():
    with mock.patch("dlmath.data._fetch.read", return_value=b"to be or not" * 10):
        return dm.data.tiny_shakespeare(length=100)


def _damaged():
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "unit.npz"
        dm.files.write_arrays(path, {"x": np.zeros(3)})
        path.write_bytes(path.read_bytes()[:-1])
        return dm.files.read_arrays(path)
