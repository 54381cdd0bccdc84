"""Image classification: digits, MNIST, Fashion-MNIST, CIFAR-10. Pixels in [0, 1], labels int32."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlmath import check
from dlmath.data import _fetch
from dlmath.data._dataset import Dataset, float_dtype

_MNIST_URLS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/{}.gz",
    "https://ossci-datasets.s3.amazonaws.com/mnist/{}.gz",
)
_FASHION_MNIST_URLS = (
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/{}.gz",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/{}.gz",
)
_CIFAR10_URLS = ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz#cifar-10-batches-bin/{}",)


def digits(*, dtype: Any = "float32") -> Dataset:
    """Handwritten digits of 8x8 pixels, 1797 of them, in 10 classes; part of scikit-learn, no download.

    The split is by position: the first 1297 images train, the last 500 test.

    Args:
        dtype: "float32" or "float64", of the pixels.

    Returns:
        Dataset with x of shape [1297, 8, 8, 1] in [0, 1] (sixteenths) and int32 labels.

    >>> dataset = digits()
    >>> dataset.x.shape, dataset.x_test.shape
    ((1297, 8, 8, 1), (500, 8, 8, 1))

    References: Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI repository, 1998.
    """
    dtype = float_dtype(dtype)
    from sklearn.datasets import load_digits

    stored: Any = load_digits()
    x = (stored.images / 16.0).astype(dtype)[..., None]
    y = stored.target.astype(np.int32)
    return Dataset(x[:1297], y[:1297], x[1297:], y[1297:])


def mnist(*, dtype: Any = "float32") -> Dataset:
    """MNIST: handwritten digits of 28x28 pixels, 60,000 to train and 10,000 to test.

    Args:
        dtype: "float32" or "float64", of the pixels.

    Returns:
        Dataset with x of shape [60000, 28, 28, 1] in [0, 1] (188 MB in float32) and int32 labels.

    Raises:
        DownloadError: if the files are neither on this machine nor could be downloaded (11 MB).
        DamagedFileError: if a file on this machine is not what it should be.

    >>> mnist().x.shape  # doctest: +SKIP
    (60000, 28, 28, 1)

    References: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document
    recognition", 1998.
    """
    return _mnist_like("mnist", _MNIST_URLS, dtype)


def fashion_mnist(*, dtype: Any = "float32") -> Dataset:
    """Fashion-MNIST: articles of clothing, with the sizes of MNIST.

    Args:
        dtype: "float32" or "float64", of the pixels.

    Returns:
        Dataset with x of shape [60000, 28, 28, 1] in [0, 1] (188 MB in float32) and int32 labels.

    Raises:
        DownloadError: if the files are neither on this machine nor could be downloaded (31 MB).
        DamagedFileError: if a file on this machine is not what it should be.

    >>> fashion_mnist().x_test.shape  # doctest: +SKIP
    (10000, 28, 28, 1)

    References: Xiao, Rasul and Vollgraf, arXiv:1708.07747, 2017.
    """
    return _mnist_like("fashion_mnist", _FASHION_MNIST_URLS, dtype)


def cifar10(
    *, batches: Sequence[int] = (1, 2, 3, 4, 5), test_batch: int | str = "test", dtype: Any = "float32"
) -> Dataset:
    """CIFAR-10: colour photographs of 32x32 pixels in 10 classes; the official split or some of its batches.

    Args:
        batches: which of the five training batches of 10,000 images to train on, in this order.
        test_batch: what to test on: "test", the official 10,000 test images; one of the five training
            batches, held out; or "test_lossless_1017", the first 1,017 official test images.
        dtype: "float32" or "float64", of the pixels.

    Returns:
        Dataset with x of shape [10000 * len(batches), 32, 32, 3] in [0, 1] (123 MB a batch in float32)
        and int32 labels.

    Raises:
        DownloadError: if a batch is neither on this machine nor could be downloaded (170 MB for all);
            names it, and those that are there.
        DamagedFileError: if a file on this machine is not what it should be.
        ValueError: for batches that do not exist, are repeated, or are also the test batch.

    >>> cifar10(batches=(1, 2), test_batch=5).x.shape  # doctest: +SKIP
    (20000, 32, 32, 3)

    References: Krizhevsky, "Learning multiple layers of features from tiny images", 2009 (binary version).
    """
    batches = tuple(check.integer("batches", batch, at_least=1, at_most=5) for batch in batches)
    if not batches or len(set(batches)) != len(batches):
        raise ValueError(f"batches must be distinct numbers from 1 to 5, got {batches}; drop the repeated ones")
    if isinstance(test_batch, str):
        check.one_of("test_batch", test_batch, ("test", "test_lossless_1017"))
    elif check.integer("test_batch", test_batch, at_least=1, at_most=5) in batches:
        raise ValueError(f"test_batch must not be one of the training batches {batches}, got {test_batch}")
    dtype = float_dtype(dtype)
    train = [_cifar_batch(f"data_batch_{batch}", dtype) for batch in batches]
    name = {"test": "test_batch"}.get(str(test_batch), str(test_batch))
    x_test, y_test = _cifar_batch(name if isinstance(test_batch, str) else f"data_batch_{name}", dtype)
    x, y = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return Dataset(x, y, x_test, y_test)


def _mnist_like(folder: str, urls: Sequence[str], dtype: Any) -> Dataset:
    dtype = float_dtype(dtype)
    arrays = []
    for name in (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ):
        array = parse_idx(_fetch.read(f"{folder}/{name}", [url.format(name) for url in urls]))
        arrays.append(_unit_interval(array[..., None], dtype) if array.ndim == 3 else array.astype(np.int32))
    return Dataset(*arrays)


def parse_idx(content: bytes) -> np.ndarray:
    """The array of bytes in an IDX file: two zeros, type 8, rank, sizes as big-endian int32, data."""
    rank = content[3] if content[:3] == b"\x00\x00\x08" else 0
    shape = np.frombuffer(content, ">i4", rank, 4)
    if rank == 0 or len(content) != 4 + 4 * rank + int(np.prod(shape)):
        raise ValueError("content must be an IDX file of unsigned bytes with as many entries as its header says")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def _cifar_batch(name: str, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    # The lossless part of the test set was never published as a file of its own.
    urls = () if "lossless" in name else [url.format(f"{name}.bin") for url in _CIFAR10_URLS]
    try:
        content = _fetch.read(f"cifar10/{name}.bin", urls)
    except _fetch.DownloadError as error:
        raise _fetch.DownloadError(f"{error}{_present_batches()}") from error
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + 3072)
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return _unit_interval(planes.transpose(0, 2, 3, 1), dtype), records[:, 0].astype(np.int32)


def _present_batches() -> str:
    present = [batch for batch in range(1, 6) if _fetch.find(f"cifar10/data_batch_{batch}.bin")]
    if len(present) < 2:
        return ""
    *train, test = present
    return (
        f"\nThe training batches {', '.join(map(str, present))} are on this machine: for example, "
        f"batches={tuple(train)}, test_batch={test} holds one of them out."
    )


def _unit_interval(pixels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    scaled = pixels.astype(dtype, order="C")
    scaled /= 255
    return scaled
