"""Transformers: flax's layers, causality, symmetry."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

SMALL = {"num_layers": 2, "model_dim": 8, "num_heads": 2, "mlp_dim": 12, "bias_std": 0.3}


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 4)), jnp.float32)


def flax_attention(block, h, causal):
    """flax linen's multi-head attention with the weights of `block`, [in, heads, head_dim] instead of [in, out]."""
    params = {
        name: {"kernel": block[name]["weight"].reshape(8, 2, 4), "bias": block[name]["bias"].reshape(2, 4)}
        for name in ("query", "key", "value")
    }
    params["out"] = {"kernel": block["output"]["weight"].reshape(2, 4, 8), "bias": block["output"]["bias"]}
    mask = nn.make_causal_mask(jnp.ones(h.shape[:2])) if causal else None
    return nn.MultiHeadDotProductAttention(num_heads=2).apply({"params": params}, h, mask=mask)


def flax_norm(params, h):
    return nn.LayerNorm(epsilon=1e-5).apply({"params": {"scale": params["scale"], "bias": params["shift"]}}, h)


def affine(params, h):
    return h @ params["weight"] + params["bias"]


def sinusoid(time, size):
    """Vaswani et al., sec. 3.5, as printed: PE(pos, 2i) = sin(pos/10000^(2i/d)), PE(pos, 2i+1) = cos(the same)."""
    table = np.zeros((time, size))
    for position in range(time):
        for i in range(size // 2):
            table[position, 2 * i] = np.sin(position / 10000 ** (2 * i / size))
            table[position, 2 * i + 1] = np.cos(position / 10000 ** (2 * i / size))
    return table


@pytest.mark.parametrize(
    ("norm", "causal", "positions"),
    [
        ("pre", False, "learned"),
        ("pre", True, "sinusoidal"),
        ("post", True, "learned"),
        (None, False, None),
    ],
)
def test_network_equals_flax_layers_with_the_same_weights(norm, causal, positions, x):
    model = dm.models.transformer(3, norm=norm, causal=causal, positions=positions, every_position=True, **SMALL)
    params = model.init(jax.random.key(0), x)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jnp.sin(jnp.arange(leaf.size)).reshape(leaf.shape), params)
    h = affine(params["embedding"], x)
    if positions == "learned":
        h = h + params["positions"]
    elif positions == "sinusoidal":
        h = h + sinusoid(5, 8)
    for block in params["blocks"]:
        branches = (
            lambda h, block=block: flax_attention(block, h, causal),
            lambda h, block=block: affine(block["mlp2"], nn.gelu(affine(block["mlp1"], h), approximate=False)),
        )
        for name, branch in zip(("norm1", "norm2"), branches, strict=True):
            if norm == "pre":
                h = h + branch(flax_norm(block[name], h))
            else:
                h = h + branch(h)
                h = flax_norm(block[name], h) if norm == "post" else h
    if norm == "pre":
        h = flax_norm(params["norm"], h)
    np.testing.assert_allclose(jax.jit(model.apply)(params, x), affine(params["read_out"], h), rtol=1e-4, atol=1e-4)


def test_outputs_before_a_change_of_the_input_do_not_change_in_a_causal_network(x):
    model = dm.models.transformer(3, causal=True, **SMALL)
    params = model.init(jax.random.key(0), x)
    before, after = model.apply(params, x), model.apply(params, x.at[:, 3].add(1.0))
    np.testing.assert_allclose(before[:, :3], after[:, :3], atol=1e-6)
    assert (jnp.abs(before - after)[:, 3:] > 1e-4).any(-1).all()


def test_an_encoder_without_positions_commutes_with_permutations(x):
    model = dm.models.transformer(3, positions=None, every_position=True, **SMALL)
    params = model.init(jax.random.key(0), x)
    order = np.array([3, 0, 4, 1, 2])
    np.testing.assert_allclose(model.apply(params, x[:, order]), model.apply(params, x)[:, order], atol=1e-5)


def test_positions_break_the_symmetry_under_permutations(x):
    model = dm.models.transformer(3, **SMALL)
    params = model.init(jax.random.key(0), x)
    assert (jnp.abs(model.apply(params, x[:, ::-1]) - model.apply(params, x)) > 1e-4).any()


def test_tokens_are_vectors_of_their_embedding():
    tokens = jnp.asarray([[1, 0, 2], [2, 2, 1]])
    with_tokens = dm.models.transformer(3, vocabulary=3, **SMALL)
    with_vectors = dm.models.transformer(3, **SMALL)
    params = with_tokens.init(jax.random.key(0), tokens)
    vectors = jax.nn.one_hot(tokens, 3)
    other = params | {"embedding": params["embedding"] | {"bias": jnp.zeros(8)}}
    np.testing.assert_allclose(with_tokens.apply(params, tokens), with_vectors.apply(other, vectors), atol=1e-5)


def test_number_of_parameters():
    """A block of width d and MLP width m: 4(d² + d) + 2dm + m + d, and two norms of 2d each."""
    model = dm.models.transformer(7, num_layers=3, num_heads=4, model_dim=16, mlp_dim=24, vocabulary=11)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 9), int))
    block = 4 * (16 * 16 + 16) + 2 * 16 * 24 + 24 + 16 + 4 * 16
    expected = 11 * 16 + 9 * 16 + 3 * block + 2 * 16 + 16 * 7 + 7
    assert dm.models.count_parameters(params) == expected


def test_double_precision_in_double_precision_out(x):
    with jax.enable_x64(True):
        x = x.astype(jnp.float64)
        for positions in ("learned", "sinusoidal", None):
            model = dm.models.transformer(3, positions=positions, **SMALL)
            assert model.apply(model.init(jax.random.key(0), x), x).dtype == jnp.float64


def test_gradient_lowers_for_cuda_and_tpu(x):
    model = dm.models.transformer(3, causal=True, **SMALL)
    params = model.init(jax.random.key(0), x)
    gradient = jax.jit(jax.grad(lambda params, x: model.apply(params, x).sum()))
    gradient.trace(params, x).lower(lowering_platforms=("cuda", "tpu"))
