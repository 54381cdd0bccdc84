"""Text, as sequences of character codes."""

import numpy as np

from dlmath import check
from dlmath.data import _fetch
from dlmath.data._dataset import Dataset

_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"

TINY_SHAKESPEARE_CHARACTERS = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""The 65 characters of tiny Shakespeare in order of their codes: `TINY_SHAKESPEARE_CHARACTERS[code]`."""


def tiny_shakespeare(*, length: int = 128, test_fraction: float = 0.1) -> Dataset:
    """Tiny Shakespeare: 1,115,394 characters of plays, cut into windows for predicting the next character.

    The first part of the text trains and the last part tests; both are cut into consecutive windows that do
    not overlap, and `y[i, t]` is the character after `x[i, t]`.

    Args:
        length: number of characters in a window.
        test_fraction: fraction of the text at its end that tests, above 0 and below 1.

    Returns:
        Dataset of int32 codes, x and y of shape [n, length]; codes index `TINY_SHAKESPEARE_CHARACTERS`.

    Raises:
        DownloadError: if the file is neither on this machine nor could be downloaded (1.1 MB).
        DamagedFileError: if a file on this machine is not what it should be.
        ValueError: if `length` exceeds one of the two parts.

    >>> tiny_shakespeare(length=256).x.shape  # doctest: +SKIP
    (3921, 256)

    References: Karpathy, "The unreasonable effectiveness of recurrent neural networks", 2015.
    """
    length = check.positive_int("length", length)
    test_fraction = check.real("test_fraction", test_fraction, above=0.0, below=1.0)
    content = np.frombuffer(_fetch.read("tinyshakespeare/input.txt", [_URL]), np.uint8)
    codes = np.searchsorted(np.frombuffer(TINY_SHAKESPEARE_CHARACTERS.encode("ascii"), np.uint8), content)
    codes = codes.astype(np.int32)
    num_train = len(codes) - round(test_fraction * len(codes))
    shortest = min(num_train, len(codes) - num_train)
    if length >= shortest:
        raise ValueError(
            f"length must be less than both parts of the text, got {length} and a part of {shortest} characters"
        )
    return Dataset(*_windows(codes[:num_train], length), *_windows(codes[num_train:], length))


def _windows(codes: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    count = (len(codes) - 1) // length
    shape = (count, length)
    return codes[: count * length].reshape(shape), codes[1 : count * length + 1].reshape(shape)
