"""The real data sets are what their papers say."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

import dlmath as dm


def test_digits_are_all_1797_images_in_the_unit_interval():
    data = dm.data.digits()
    assert (data.x.shape, data.x_test.shape) == ((1297, 8, 8, 1), (500, 8, 8, 1))
    assert (data.x.dtype, data.y.dtype) == (np.float32, np.int32)
    assert data.x.min() == 0.0
    assert data.x.max() == 1.0
    # Counts of the ten classes, from the description shipped with the UCI file.
    counts = np.bincount(np.concatenate([data.y, data.y_test]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_in_float64_are_exact_sixteenths():
    x = dm.data.digits(dtype="float64").x
    assert x.dtype == np.float64
    np.testing.assert_array_equal(x * 16, np.round(x * 16))


def test_digits_are_readable_a_nearest_neighbour_errs_on_few():
    data = dm.data.flatten(dm.data.digits())
    distances = ((data.x_test[:, None] - data.x[None]) ** 2).sum(-1)
    errors = (data.y[distances.argmin(1)] != data.y_test).mean()
    assert errors < 0.06


def test_mnist_has_its_sizes_label_counts_and_mean(public_data):
    data = dm.data.mnist()
    assert (data.x.shape, data.x_test.shape) == ((60000, 28, 28, 1), (10000, 28, 28, 1))
    assert np.bincount(data.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # The constants every MNIST example normalises with.
    assert data.x.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert data.x.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)


def test_fashion_mnist_is_balanced_and_has_its_mean(public_data):
    data = dm.data.fashion_mnist()
    assert np.bincount(data.y).tolist() == [6000] * 10
    assert np.bincount(data.y_test).tolist() == [1000] * 10
    assert data.x.mean(dtype=np.float64) == pytest.approx(0.2860, abs=5e-5)
    assert data.x.std(dtype=np.float64) == pytest.approx(0.3530, abs=5e-5)


def test_a_cifar10_batch_has_its_pixels_in_place(public_data):
    data = dm.data.cifar10(batches=(1,), test_batch="test_lossless_1017")
    assert (data.x.shape, data.x_test.shape) == ((10000, 32, 32, 3), (1017, 32, 32, 3))
    # Class counts of data_batch_1 and its first image (a frog), as in the official Python version.
    assert np.bincount(data.y).tolist() == [1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981]
    assert data.y[:5].tolist() == [6, 9, 9, 4, 1]
    corner = np.round(data.x[0, :2, :3] * 255).astype(int).tolist()
    assert corner == [[[59, 62, 63], [43, 46, 45], [50, 48, 43]], [[16, 20, 20], [0, 0, 0], [18, 8, 0]]]
    # The first test images: cat, ship, ship, aeroplane, frog.
    assert data.y_test[:5].tolist() == [3, 8, 8, 0, 6]
    # Channel means of the whole training set; a fifth of it agrees within 0.005.
    np.testing.assert_allclose(data.x.mean((0, 1, 2)), [0.4914, 0.4822, 0.4465], atol=0.005)


def test_digests_are_those_of_the_unpacked_files(public_data):
    from dlmath.data import _fetch

    path = Path(public_data) / "uci" / "yacht" / "data" / "data.txt"
    assert _fetch.digests()["uci/yacht/data/data.txt"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "rows", "features"),
    [("yacht", 308, 6), ("bostonHousing", 506, 13), ("energy", 768, 8), ("naval-propulsion-plant", 11934, 16)],
)
def test_uci_splits_use_every_row_once(public_data, name, rows, features):
    data = dm.data.uci(name, 1, dtype="float64")
    assert data.x.shape[1] == features
    assert data.y.ndim == 1
    assert len(data.x) == round(0.9 * rows)
    both = np.concatenate([np.c_[data.x, data.y], np.c_[data.x_test, data.y_test]])
    stored = np.loadtxt(f"{public_data}/uci/{name}/data/data.txt")
    columns = np.loadtxt(f"{public_data}/uci/{name}/data/index_features.txt", dtype=int)
    target = np.loadtxt(f"{public_data}/uci/{name}/data/index_target.txt", dtype=int)
    expected = np.c_[stored[:, columns], stored[:, target]]
    np.testing.assert_array_equal(both[np.lexsort(both.T)], expected[np.lexsort(expected.T)])


def test_a_split_of_the_diabetes_set_uses_every_patient_once_and_another_differs():
    from sklearn.datasets import load_diabetes

    data, other = (dm.data.diabetes(split, dtype="float64") for split in (0, 1))
    assert (len(data.x), len(data.x_test)) == (397, 45)
    stored = load_diabetes()
    both = np.concatenate([np.c_[data.x, data.y], np.c_[data.x_test, data.y_test]])
    expected = np.c_[stored.data, stored.target]
    np.testing.assert_array_equal(both[np.lexsort(both.T)], expected[np.lexsort(expected.T)])
    assert not np.array_equal(data.y_test, other.y_test)


def test_protein_has_five_splits_and_other_sets_twenty():
    assert dm.data.UCI_SPLITS["protein-tertiary-structure"] == 5
    assert set(dm.data.UCI_SPLITS.values()) == {5, 20}
    assert len(dm.data.UCI_SPLITS) == 9


def test_standardised_uci_data_have_training_mean_0_and_variance_1(public_data):
    data = dm.data.uci("concrete", 0, standardize=True, dtype="float64")
    np.testing.assert_allclose(data.x.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(data.x.std(0), 1, atol=1e-12)
    assert data.y.mean() == pytest.approx(0, abs=1e-12)
    assert data.y.std() == pytest.approx(1)
    assert abs(data.x_test.mean()) > 1e-3


def test_mnist1d_agrees_with_the_published_file(public_data):
    data = dm.data.mnist1d()
    with np.load(f"{public_data}/mnist1d/mnist1d.npz", allow_pickle=False) as published:
        np.testing.assert_allclose(data.x, published["x"], atol=1e-6)
        np.testing.assert_allclose(data.x_test, published["x_test"], atol=1e-6)
        np.testing.assert_array_equal(data.y, published["y"])
        np.testing.assert_array_equal(data.y_test, published["y_test"])


def test_mnist1d_is_standardised_and_balanced_over_both_parts():
    data = dm.data.mnist1d(dtype="float64")
    signals = np.concatenate([data.x, data.x_test])
    assert signals.mean() == pytest.approx(0, abs=1e-12)
    assert signals.std() == pytest.approx(1)
    assert np.bincount(np.concatenate([data.y, data.y_test])).tolist() == [500] * 10


def test_tiny_shakespeare_decodes_to_its_first_line(public_data):
    data = dm.data.tiny_shakespeare(length=100)
    decode = lambda codes: "".join(dm.data.TINY_SHAKESPEARE_CHARACTERS[code] for code in codes)
    assert decode(data.x[0]).startswith("First Citizen:\nBefore we proceed any further, hear me speak.\n")
    np.testing.assert_array_equal(data.x[0, 1:], data.y[0, :-1])
    # The next window goes on where this one ends.
    assert data.x[1, 0] == data.y[0, -1]
    assert len(dm.data.TINY_SHAKESPEARE_CHARACTERS) == data.x.max() + 1 == 65
    # 90 % of 1,115,394 characters train: 1,003,855, less the last one, which has no successor.
    assert data.x.shape == (10038, 100)
    assert data.x_test.shape == (1115, 100)
