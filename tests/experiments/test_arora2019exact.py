import jax
import numpy as np
import pytest
import xarray as xr

pytestmark = pytest.mark.usefixtures("double_precision")


def cntk(x, y, depth, pooled):
    """CNTK of two images by loops, after section 4.2 of the paper: patches summed with c_σ/q² = 2/9."""
    height, width, channels = x.shape
    shifts = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]

    def patches(k):
        padded = np.pad(k, 1)
        inside = [(slice(1 + a, 1 + a + height), slice(1 + b, 1 + b + width)) for a, b in shifts]
        return sum(padded[(*rows, *rows)] for rows in inside) * 2 / 9

    def start(u, v):
        return patches(np.einsum("hwc,HWc->hwHW", u, v) / channels)

    k = {(i, j): start(*((x, y)[a] for a in (i, j))) for i in (0, 1) for j in (0, 1)}
    theta = k[0, 1]
    for layer in range(depth):
        size = {i: np.einsum("hwhw->hw", k[i, i]) for i in (0, 1)}
        after = {}
        for i, j in k:
            norm = np.sqrt(size[i][:, :, None, None] * size[j])
            angle = np.arccos(np.clip(k[i, j] / norm, -1, 1))
            after[i, j] = norm * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
            if (i, j) == (0, 1):
                theta = theta * (np.pi - angle) / (2 * np.pi)
        if layer < depth - 1:
            k = {pair: patches(value) for pair, value in after.items()}
            theta = k[0, 1] + patches(theta)
    last = 2 * (after[0, 1] + theta)
    return last.mean() if pooled else np.einsum("hwhw->", last) / (height * width)


@pytest.mark.parametrize(("readout", "pooled"), [("flatten", False), ("global_average", True)])
def test_the_kernel_is_that_of_the_recursion_over_pixels(paper, readout, pooled):
    x = np.asarray(jax.random.normal(jax.random.key(0), (2, 4, 3, 2)))
    found = paper.network(1, 2, readout).kernel(x)[0, 1]
    assert float(found) == pytest.approx(cntk(x[0], x[1], 2, pooled), rel=1e-10)


def test_regression_interpolates_its_training_labels(paper):
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(6, 9)), np.array([0, 3, 9, 3, 1, 7])
    gram = features @ features.T
    assert (paper.classify(gram, gram, labels) == labels).all()


def test_the_gain_is_that_at_the_largest_training_set(paper):
    accuracy = xr.DataArray(
        [[[0.5, 0.2], [0.7, 0.6]]], {"num_train": [50, 100], "kernel": ["ntk", "nngp"]}, ("seed", "num_train", "kernel")
    )
    config = paper.Config(train_sizes=(50, 100))
    gain = paper._gain(config, {"accuracy/accuracy": accuracy}, {"kernel": "ntk"}, {"kernel": "nngp"})
    np.testing.assert_allclose(gain, [0.1])
