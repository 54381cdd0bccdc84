"""Small transformers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import check
from dlmath.models import activations
from dlmath.models._layers import batch_shape, dense, init_weights, precision
from dlmath.models._model import Model, shared
from dlmath.models._parameterization import Scaling

NORMS = ("pre", "post")
POSITIONS = ("learned", "sinusoidal")
EPSILON = 1e-5


@shared
def transformer(
    outputs: int,
    *,
    num_layers: int = 2,
    num_heads: int = 4,
    model_dim: int = 64,
    mlp_dim: int | None = None,
    vocabulary: int | None = None,
    causal: bool = False,
    every_position: bool | None = None,
    norm: str | None = "pre",
    positions: str | None = "learned",
    activation: str | Callable[[Any], Any] = "gelu",
    weight_std: float = 1.0,
    bias_std: float | None = 0.0,
) -> Model:
    """Transformer: embedding plus positions, blocks of self-attention and a two-layer MLP, a linear read-out.

    A block maps the sequence h [time, model_dim] to

        h ← h + O·concat_a softmax(Q_a K_aᵀ/√(model_dim/num_heads)) V_a,    h ← h + W₂ φ(W₁ h + b₁) + b₂,

    with queries, keys and values affine in h and a = 1, …, num_heads. Layer norm N stands before each of the two
    branches and before the read-out (norm="pre": h + f(N h)), after each sum (norm="post": N(h + f(h))), or nowhere.
    A causal network lets a position attend to itself and earlier ones only.

    Weights are N(0, weight_std²/fan_in), those of token and learned position embeddings N(0, 1). Parameters are a dict of
    "embedding", "positions" (if learned), "blocks", "norm" (if "pre") and "read_out"; weights are {"weight": [in, out],
    "bias": [out]}, norms {"scale", "shift"}.

    Args:
        outputs: number of outputs.
        num_layers: number of blocks.
        num_heads: number of attention heads; it divides model_dim.
        model_dim: width of the residual stream.
        mlp_dim: width of the hidden layer of the MLPs; None means 4·model_dim.
        vocabulary: number of tokens, for integer inputs x[batch, time]; None for vectors x[batch, time, features].
        causal: whether attention is masked (decoder) or not (encoder).
        every_position: whether to read out at every position, or at the mean over positions; None: if causal.
        norm: "pre", "post" or None.
        positions: "learned" (for as many positions as `init` sees), "sinusoidal" (Vaswani et al., sec. 3.5), or None:
            without positions and mask the network commutes with permutations of the sequence.
        activation: φ, a name from `models.activations` or any function.
        weight_std: standard deviation of weights, times √fan_in.
        bias_std: standard deviation of biases; None for layers without.

    Returns:
        A Model with outputs [batch, time, outputs], or [batch, outputs].

    Raises:
        ValueError, TypeError: an argument out of its range, named in the message.

    Cost of `apply`: per example and block, time·(4·model_dim² + 2·model_dim·mlp_dim) + 2·time²·model_dim multiply-adds,
    memory num_heads·time² for the attention matrices.

    Vaswani et al. 2017 (1706.03762); pre-norm: Xiong et al. 2020 (2002.04745).

    >>> import jax, jax.numpy as jnp, dlmath as dm
    >>> model = dm.models.transformer(11, num_layers=1, model_dim=8, num_heads=2, vocabulary=11, causal=True)
    >>> tokens = jnp.zeros((3, 5), int)
    >>> model.apply(model.init(jax.random.key(0), tokens), tokens).shape
    (3, 5, 11)
    """
    outputs, num_layers, num_heads, model_dim = (
        check.positive_int(name, value)
        for name, value in (
            ("outputs", outputs),
            ("num_layers", num_layers),
            ("num_heads", num_heads),
            ("model_dim", model_dim),
        )
    )
    if model_dim % num_heads:
        raise ValueError(f"num_heads must divide model_dim={model_dim}, got {num_heads}")
    mlp_dim = 4 * model_dim if mlp_dim is None else check.positive_int("mlp_dim", mlp_dim)
    if vocabulary is not None:
        vocabulary = check.positive_int("vocabulary", vocabulary)
    if norm is not None:
        check.one_of("norm", norm, NORMS)
    if positions is not None:
        check.one_of("positions", positions, POSITIONS)
    phi = activations.get(activation)
    weight_std = check.real("weight_std", weight_std, at_least=0)
    if bias_std is not None:
        bias_std = check.real("bias_std", bias_std, at_least=0)
    scaling = Scaling("hidden", "standard", weight_std, bias_std)
    read_every = causal if every_position is None else every_position

    def init(key: Any, x: Any) -> Any:
        check.key("key", key)
        shape = input_shape(x)
        embedding_key, positions_key, blocks_key, read_out_key = jax.random.split(key, 4)
        dtype = jnp.result_type(float)
        if vocabulary is None:
            embedding = init_weights(embedding_key, scaling, (shape[2], model_dim))
        else:
            embedding = {"weight": jax.random.normal(embedding_key, (vocabulary, model_dim), dtype)}
        params: dict[str, Any] = {"embedding": embedding}
        if positions == "learned":
            params["positions"] = jax.random.normal(positions_key, (shape[1], model_dim), dtype)
        params["blocks"] = tuple(init_block(k) for k in jax.random.split(blocks_key, num_layers))
        if norm == "pre":
            params["norm"] = _init_norm(model_dim)
        params["read_out"] = init_weights(read_out_key, scaling, (model_dim, outputs))
        return params

    def init_block(key: Any) -> dict[str, Any]:
        shapes = {
            **dict.fromkeys(("query", "key", "value", "output"), (model_dim, model_dim)),
            "mlp1": (model_dim, mlp_dim),
            "mlp2": (mlp_dim, model_dim),
        }
        keys = jax.random.split(key, len(shapes))
        block = {name: init_weights(k, scaling, shapes[name]) for k, name in zip(keys, shapes, strict=True)}
        if norm is not None:
            block |= {"norm1": _init_norm(model_dim), "norm2": _init_norm(model_dim)}
        return block

    def apply(params: Any, x: Any) -> Any:
        time = input_shape(x)[1]
        if vocabulary is None:
            h = dense(params["embedding"], scaling, x)
        else:
            h = jnp.take(params["embedding"]["weight"], _tokens(x, vocabulary), axis=0)
        h = h + _positions(positions, params, time, model_dim).astype(h.dtype)
        for block in params["blocks"]:
            h = residual(block.get("norm1"), h, lambda z, block=block: attention(block, z))
            h = residual(block.get("norm2"), h, lambda z, block=block: mlp(block, z))
        if norm == "pre":
            h = _layer_norm(params["norm"], h)
        return dense(params["read_out"], scaling, h if read_every else h.mean(axis=1))

    def residual(norm_params: Any, h: Any, branch: Callable[[Any], Any]) -> Any:
        if norm == "pre":
            return h + branch(_layer_norm(norm_params, h))
        h = h + branch(h)
        return h if norm is None else _layer_norm(norm_params, h)

    def attention(block: Any, h: Any) -> Any:
        batch, time, _ = h.shape
        heads = (batch, time, num_heads, model_dim // num_heads)
        query, key, value = (dense(block[name], scaling, h).reshape(heads) for name in ("query", "key", "value"))
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key, precision=precision()) * heads[-1] ** -0.5
        if causal:
            visible = jnp.tril(jnp.ones((time, time), bool)).reshape(1, 1, time, time)
            scores = jnp.where(visible, scores, -jnp.inf)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, axis=-1), value, precision=precision())
        return dense(block["output"], scaling, mixed.reshape(h.shape))

    def mlp(block: Any, h: Any) -> Any:
        return dense(block["mlp2"], scaling, phi(dense(block["mlp1"], scaling, h)))

    def input_shape(x: Any) -> tuple[int, ...]:
        if vocabulary is None:
            return batch_shape(x, 3, "[batch, time, features] (or give vocabulary for tokens [batch, time])")
        return batch_shape(x, 2, "[batch, time] of tokens (or vocabulary=None for vectors)")

    return Model(init, apply)


def _tokens(x: Any, vocabulary: int) -> Any:
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise TypeError(f"x must hold integer tokens, got dtype {x.dtype}; use vocabulary=None for vectors")
    if not check.is_traced(x):
        values = np.asarray(x)
        if values.size and (values.min() < 0 or values.max() >= vocabulary):
            raise ValueError(
                f"x must hold tokens 0 to {vocabulary - 1}, got tokens from {values.min()} to {values.max()}"
            )
    return x


def _positions(kind: str | None, params: Any, time: int, model_dim: int) -> Any:
    """[1, time, model_dim], or zeros [1, 1, 1]."""
    if kind is None:
        return jnp.zeros((1, 1, 1))
    if kind == "sinusoidal":
        frequencies = 10000.0 ** (-(np.arange(model_dim) // 2 * 2) / model_dim)
        angles = np.arange(time)[:, None] * frequencies
        return jnp.asarray(np.where(np.arange(model_dim) % 2 == 0, np.sin(angles), np.cos(angles)))[None]
    table = jnp.asarray(params["positions"])
    if time > table.shape[0]:
        raise ValueError(
            f"x must have at most {table.shape[0]} positions, as the parameters were made for, got {time};"
            " call init with longer inputs or use positions='sinusoidal'"
        )
    return table[None, :time]


def _init_norm(size: int) -> dict[str, Any]:
    dtype = jnp.result_type(float)
    return {"scale": jnp.ones(size, dtype), "shift": jnp.zeros(size, dtype)}


def _layer_norm(params: Any, h: Any) -> Any:
    centred = h - h.mean(axis=-1, keepdims=True)
    h = centred * jax.lax.rsqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
    return h * params["scale"].reshape(1, 1, -1) + params["shift"].reshape(1, 1, -1)
