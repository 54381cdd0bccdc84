"""Augmentation of images: windows of the padded image, mirrored half of the time."""

import jax
import numpy as np

from dlmath.data import crop_and_flip

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1, 5, 6, 2)).astype(np.float32)
NUM = 4000


def test_images_are_the_windows_of_the_padded_image_equally_often():
    found = np.asarray(crop_and_flip(jax.random.key(0), np.repeat(X, NUM, 0), padding=1))
    padded = np.pad(X[0], ((1, 1), (1, 1), (0, 0)))
    windows = [padded[i : i + 5, j : j + 6] for i in range(3) for j in range(3)]
    candidates = np.stack(windows + [window[:, ::-1] for window in windows])
    counts = np.array([(found == candidate).all((1, 2, 3)).sum() for candidate in candidates])
    assert counts.sum() == NUM
    expected = NUM / 18
    # χ² with 17 degrees of freedom exceeds 40.8 one time in a thousand.
    assert ((counts - expected) ** 2 / expected).sum() < 40.8


def test_nothing_is_done_without_padding_and_flips():
    np.testing.assert_array_equal(crop_and_flip(jax.random.key(0), X, padding=0, flip=False), X)
