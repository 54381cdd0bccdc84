"""Operators made of operators, against their matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import dlmath as dm
from dlmath.linalg import dense

KEY = jax.random.key(0)
NAMES = ["0/bias", "0/weight", "1"]
LIKE = ({"weight": jnp.zeros((2, 3)), "bias": jnp.zeros(2)}, jnp.zeros(3))
N = 11
HALF = np.random.default_rng(0).standard_normal((N, N))
MATRIX = (HALF + HALF.T).astype("float32")


def times(matrix, vector):
    flat, unravel = ravel_pytree(vector)
    return unravel(matrix @ flat)


def tree_operator(matrix=MATRIX):
    return dm.linalg.operator(times, LIKE, jnp.asarray(matrix))


def close(op, matrix):
    np.testing.assert_allclose(dense(op), matrix, atol=2e-6 * np.abs(MATRIX).sum())


def test_dense_is_the_matrix():
    close(tree_operator(), MATRIX)


def test_column_i_of_dense_is_the_product_with_the_ith_unit_vector():
    close(dm.linalg.from_matrix(jnp.asarray(HALF, jnp.float32)), HALF)


def test_the_sum_has_the_sum_of_the_matrices():
    close(dm.linalg.sum(tree_operator(), tree_operator(2 * MATRIX), tree_operator(-MATRIX)), 2 * MATRIX)


def test_a_sum_is_as_inexact_as_its_coarsest_term():
    coarse = dm.linalg.operator(times, LIKE, jnp.asarray(MATRIX), matvec_eps=1e-3)
    assert dm.linalg.sum(tree_operator(), coarse).matvec_eps == 1e-3


def test_scale_multiplies_the_matrix():
    close(dm.linalg.scale(tree_operator(), -0.5), -0.5 * MATRIX)


def test_shift_adds_a_multiple_of_the_identity():
    close(dm.linalg.shift(tree_operator(), 3.0), MATRIX + 3.0 * np.eye(N))


# In the order of the leaves: bias 0:2, weight 2:8, the second layer 8:11.
@pytest.mark.parametrize(
    ("select", "rows"),
    [
        ("0/weight", range(2, 8)),
        ("0", range(8)),
        (["0/bias", "1"], [0, 1, 8, 9, 10]),
        (lambda name: name.endswith("bias"), [0, 1]),
        (lambda name: True, range(N)),
    ],
    ids=["leaf", "layer", "two names", "predicate", "everything"],
)
def test_a_restriction_is_a_diagonal_block(select, rows):
    close(dm.linalg.restrict(tree_operator(), select), MATRIX[np.ix_(list(rows), list(rows))])


def test_restricted_vectors_are_named_by_path():
    assert sorted(dm.linalg.restrict(tree_operator(), "0").like) == ["0/bias", "0/weight"]


def test_eigenvalues_of_a_block_lie_between_those_of_the_whole():
    block = dm.linalg.eigenpairs(KEY, dm.linalg.restrict(tree_operator(), "0"), 1)
    whole = np.linalg.eigvalsh(MATRIX)
    assert whole[0] < float(block.values[0]) < whole[-1]


def test_deflation_by_projection_takes_the_directions_out_of_domain_and_range():
    rows = np.random.default_rng(1).standard_normal((2, N))
    q = np.linalg.qr(rows.T)[0]
    projector = np.eye(N) - q @ q.T
    vectors = jax.vmap(tree_operator().unravel)(jnp.asarray(rows, jnp.float32))
    close(dm.linalg.deflate(tree_operator(), vectors), projector @ MATRIX @ projector)


def test_deflation_by_eigenpairs_leaves_the_rest_of_the_spectrum():
    op = tree_operator()
    found = dm.linalg.eigenpairs(KEY, op, 3)
    rest = np.linalg.eigvalsh(dense(dm.linalg.deflate(op, found.vectors, found.values)))
    np.testing.assert_allclose(rest, np.sort(np.r_[np.linalg.eigvalsh(MATRIX)[:-3], 0, 0, 0]), atol=1e-4)


def test_operators_of_operators_share_programs():
    count = []

    @jax.jit
    def apply(op):
        count.append(1)
        return op(op.unravel(jnp.ones(op.size)))

    vectors = jax.vmap(tree_operator().unravel)(jnp.ones((1, N)))
    for factor in (1.0, 2.0):
        op = dm.linalg.sum(dm.linalg.scale(tree_operator(), factor), tree_operator())
        apply(dm.linalg.restrict(dm.linalg.deflate(dm.linalg.shift(op, factor), vectors), "0"))
    assert len(count) == 1


def test_symmetric_operators_pass_and_the_gap_of_others_is_measured():
    assert dm.linalg.check_symmetric(KEY, tree_operator()) < 1e-5
    with pytest.raises(ValueError, match=r"op must be symmetric, but .* differ by"):
        dm.linalg.check_symmetric(KEY, tree_operator(HALF.astype("float32")))
    # For HALF the gap is of the order of ‖A − Aᵀ‖/‖A‖ = √2.
    gap = jax.jit(lambda op: dm.linalg.check_symmetric(KEY, op, num_probes=30))(tree_operator(HALF.astype("float32")))
    assert 0.5 < float(gap) < 10


def test_a_slight_asymmetry_is_found_in_float64_and_is_noise_in_float32():
    slight = MATRIX + 1e-6 * np.triu(np.ones((N, N)), 1)
    dm.linalg.check_symmetric(KEY, tree_operator(slight.astype("float32")))
    with jax.enable_x64(True), pytest.raises(ValueError, match="op must be symmetric"):
        dm.linalg.check_symmetric(KEY, dm.linalg.from_matrix(jnp.asarray(slight)))


def test_tiny_and_huge_asymmetric_operators_are_found():
    for factor in (1e-30, 1e30):
        with pytest.raises(ValueError, match="op must be symmetric"):
            dm.linalg.check_symmetric(KEY, dm.linalg.from_matrix(jnp.asarray(factor * HALF, jnp.float32)))


FUNCTIONS = {
    "sum": lambda op: dm.linalg.sum(op, op),
    "scale": lambda op: dm.linalg.scale(op, 2.0),
    "shift": lambda op: dm.linalg.shift(op, 2.0),
    "restrict": lambda op: dm.linalg.restrict(op, "0"),
    "deflate": lambda op: dm.linalg.deflate(op, jax.vmap(op.unravel)(jnp.ones((1, N)))),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lowers_for_cuda_and_tpu(name):
    jax.jit(lambda op: dense(FUNCTIONS[name](op))).trace(tree_operator()).lower(lowering_platforms=("cuda", "tpu"))
