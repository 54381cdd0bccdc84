"""H = G + R, and G from the class means, against dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import dlmath as dm
from dlmath import hessian, linalg

NUM, CLASSES = 14, 3
RNG = np.random.default_rng(0)
X = RNG.standard_normal((NUM, 3))
LABELS = np.r_[np.arange(CLASSES), RNG.integers(0, CLASSES, NUM - CLASSES)]
NETWORK = dm.models.mlp([5], CLASSES, activation="tanh", bias_std=0.3)
LOSS = dm.train.losses.cross_entropy
DRAWN = jax.tree.map(np.asarray, NETWORK.init(jax.random.key(1), X))
PARTS = ("class_part", "cross_part", "same_part", "within")


def params_of(dtype=np.float64):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), DRAWN)


@pytest.fixture(scope="module")
def found():
    """Operators as dense matrices, and the gradients δ_{i,c'} [n, C, P] by jax.jacrev."""
    with jax.enable_x64(True):
        params = params_of()
        parts = hessian.decompose(NETWORK.apply, LOSS, params, X, LABELS)
        means = hessian.class_means(NETWORK.apply, params, X, LABELS, CLASSES)
        matrices = {name: dense(getattr(parts, name)) for name in parts._fields}
        matrices |= {name: dense(getattr(means, name)) for name in PARTS}
        flat, unravel = ravel_pytree(params)
        function = lambda w: NETWORK.apply(unravel(w), X)
        jacobian = np.asarray(jax.jacrev(function)(flat))
        p = np.asarray(jax.nn.softmax(function(flat)))
        matrices["exact"] = np.asarray(jax.hessian(lambda w: LOSS(function(w), LABELS))(flat))
        # δ_{i,c'} = √p_i(c') Σ_k J_i[k] (1[k = c'] − p_i[k])
        deltas = np.sqrt(p)[:, :, None] * (jacobian - np.einsum("ik,ikw->iw", p, jacobian)[:, None])
        cross = np.stack([deltas[c == LABELS].mean(0) for c in range(CLASSES)])
        rows = jax.vmap(jax.vmap(lambda tree: ravel_pytree(tree)[0]))(means.cross_class)
        matrices["rows"] = np.asarray(rows)
        matrices["by_class"] = np.asarray(jax.vmap(lambda tree: ravel_pytree(tree)[0])(means.by_class))
        matrices["proportions"] = np.asarray(means.proportions)
    return matrices, deltas, cross


def dense(op):
    return np.asarray(linalg.dense(op))


def test_hessian_is_that_of_automatic_differentiation(found):
    matrices, _, _ = found
    np.testing.assert_allclose(matrices["hessian"], matrices["exact"], atol=1e-13)


def test_gauss_newton_and_residual_add_up_to_the_hessian(found):
    matrices, _, _ = found
    np.testing.assert_allclose(matrices["ggn"] + matrices["residual"], matrices["exact"], atol=1e-13)
    assert np.abs(matrices["residual"]).max() > 1e-3


def test_gauss_newton_is_the_second_moment_of_the_gradients_of_all_classes(found):
    matrices, deltas, _ = found
    np.testing.assert_allclose(matrices["ggn"], np.einsum("icv,icw->vw", deltas, deltas) / NUM, atol=1e-13)


def test_the_residual_of_a_linear_model_is_zero_and_of_an_interpolating_one_too():
    with jax.enable_x64(True):
        w = jnp.asarray(RNG.standard_normal((3, 2)))
        y = RNG.standard_normal((NUM, 2))
        linear = hessian.decompose(lambda w, x: x @ w, dm.train.losses.mse, w, X, y)
        np.testing.assert_allclose(dense(linear.residual), 0, atol=1e-14)
        bent = lambda w, x: jnp.tanh(x @ w)
        fitted = hessian.decompose(bent, dm.train.losses.mse, w, X, np.asarray(bent(w, X)))
        np.testing.assert_allclose(dense(fitted.residual), 0, atol=1e-14)


def test_means_are_averages_over_the_examples_of_a_class(found):
    matrices, _, cross = found
    np.testing.assert_allclose(matrices["rows"], cross, atol=1e-13)
    by_class = np.stack([np.delete(cross[c], c, axis=0).mean(0) for c in range(CLASSES)])
    np.testing.assert_allclose(matrices["by_class"], by_class, atol=1e-13)
    np.testing.assert_allclose(matrices["proportions"], np.bincount(LABELS) / NUM, rtol=1e-12)


def test_parts_are_the_scatters_of_the_means(found):
    matrices, deltas, cross = found
    share = np.bincount(LABELS) / NUM
    zero = np.zeros_like(matrices["ggn"])
    expected = dict.fromkeys(PARTS, zero)
    outer = lambda vector: np.outer(vector, vector)
    for c in range(CLASSES):
        others = [d for d in range(CLASSES) if d != c]
        mean = cross[c, others].mean(0)
        expected["class_part"] = expected["class_part"] + share[c] * (CLASSES - 1) * outer(mean)
        expected["cross_part"] = expected["cross_part"] + share[c] * sum(outer(cross[c, d] - mean) for d in others)
        expected["same_part"] = expected["same_part"] + share[c] * outer(cross[c, c])
        for i in np.flatnonzero(c == LABELS):
            spread = sum(outer(deltas[i, d] - cross[c, d]) for d in range(CLASSES))
            expected["within"] = expected["within"] + spread / NUM
    for name in PARTS:
        np.testing.assert_allclose(matrices[name], expected[name], atol=1e-13, err_msg=name)
    np.testing.assert_allclose(sum(matrices[name] for name in PARTS), matrices["ggn"], atol=1e-13)


def test_ranks_of_the_parts_are_bounded_by_the_number_of_classes(found):
    matrices, _, _ = found
    rank = lambda name: np.linalg.matrix_rank(matrices[name], tol=1e-10)
    assert rank("class_part") == CLASSES
    assert rank("cross_part") == CLASSES * (CLASSES - 2)
    assert rank("same_part") == CLASSES


def test_nothing_is_left_within_classes_whose_examples_are_alike():
    with jax.enable_x64(True):
        params = params_of()
        labels = np.array([0, 1, 2, 2, 1, 0, 0])
        means = hessian.class_means(NETWORK.apply, params, X[labels], labels, CLASSES)
        np.testing.assert_allclose(dense(means.within), 0, atol=1e-13)


def test_outliers_leave_with_the_class_means():
    """Tight clusters: the largest eigenvalues of G are those of its means, up to the spread of a cluster."""
    spread = 0.05
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(CLASSES), 8)
    x = 2 * np.eye(3)[labels] + spread * rng.standard_normal((24, 3))
    with jax.enable_x64(True):
        params = params_of()
        whole = hessian.ggn(NETWORK.apply, LOSS, params, x, labels)
        means = hessian.class_means(NETWORK.apply, params, x, labels, CLASSES)
        left = hessian.knock_out(whole, means.class_part, means.cross_part, means.same_part)
        before, after = np.linalg.eigvalsh(dense(whole)), np.linalg.eigvalsh(dense(left))
        np.testing.assert_allclose(dense(left), dense(means.within), atol=1e-13)
    assert before[-1] > 0.1
    assert after[-1] < 5 * spread**2 * before[-1]


def test_one_hot_labels_are_classes_too():
    with jax.enable_x64(True):
        params = params_of()
        means = [hessian.class_means(NETWORK.apply, params, X, y, CLASSES) for y in (LABELS, np.eye(CLASSES)[LABELS])]
        np.testing.assert_array_equal(*(mean.by_class[0]["weight"] for mean in means))


def test_a_class_without_examples_has_no_part_in_it():
    with jax.enable_x64(True):
        params = params_of()
        few = LABELS != 1
        means = hessian.class_means(NETWORK.apply, params, X[few], LABELS[few], CLASSES)
        assert means.proportions[1] == 0
        parts = sum(dense(getattr(means, name)) for name in PARTS)
        np.testing.assert_allclose(
            parts, dense(hessian.ggn(NETWORK.apply, LOSS, params, X[few], LABELS[few])), atol=1e-13
        )


def test_single_precision_agrees_with_double(found):
    matrices, _, _ = found
    params = params_of(np.float32)
    x = X.astype(np.float32)
    parts = hessian.decompose(NETWORK.apply, LOSS, params, x, LABELS)
    means = hessian.class_means(NETWORK.apply, params, x, LABELS, CLASSES)
    for op, name in ((parts.residual, "residual"), (means.cross_part, "cross_part"), (means.within, "within")):
        assert op.dtype == np.float32
        np.testing.assert_allclose(dense(op), matrices[name], atol=2e-6, err_msg=name)


def test_a_second_checkpoint_compiles_nothing():
    traces = []

    def apply(w, x):
        traces.append(1)
        return jnp.tanh(x @ w)

    def products(w):
        means = hessian.class_means(apply, w, x, LABELS, CLASSES)
        parts = hessian.decompose(apply, LOSS, w, x, LABELS)
        return [op(w) for op in (*parts, means.class_part, means.cross_part, means.within)]

    x = jnp.ones((NUM, 3))
    products(jnp.ones((3, CLASSES)))
    count = len(traces)
    products(jnp.zeros((3, CLASSES)))
    assert len(traces) == count
