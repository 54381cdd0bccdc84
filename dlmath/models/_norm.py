"""Normalisations of images [batch, height, width, channels], and the running statistics of batch norm."""

from typing import Any

import jax
import jax.numpy as jnp

EPSILON = 1e-5
MOMENTUM = 0.9


def affine_params(size: int) -> dict[str, Any]:
    """The trainable γ = 1 and β = 0 of a norm."""
    dtype = jnp.result_type(float)
    return {"scale": jnp.ones(size, dtype), "shift": jnp.zeros(size, dtype)}


def apply_affine(params: dict[str, Any], h: Any) -> Any:
    """γ h + β, channel by channel."""
    return h * _last(params["scale"]) + _last(params["shift"])


def initial_statistics(size: int) -> dict[str, Any]:
    """Running mean 0 and variance 1."""
    dtype = jnp.result_type(float)
    return {"mean": jnp.zeros(size, dtype), "variance": jnp.ones(size, dtype)}


def layer_norm(h: Any) -> Any:
    """Channels of every pixel with mean 0 and variance 1."""
    return _standardise(h, h.mean(axis=-1, keepdims=True), h.var(axis=-1, keepdims=True))


def batch_norm(h: Any, running: dict[str, Any], training: bool) -> tuple[Any, dict[str, Any]]:
    """(channels with mean 0 and variance 1, new running statistics).

    In training over the batch and pixels, otherwise with the running averages (0.9 old + 0.1 new, biased variance).
    """
    if not training:
        return _standardise(h, _last(running["mean"]), _last(running["variance"])), running
    new = {"mean": h.mean(axis=(0, 1, 2)), "variance": h.var(axis=(0, 1, 2))}
    mixed = jax.tree.map(lambda a, b: MOMENTUM * a + (1 - MOMENTUM) * b, running, new)
    return _standardise(h, _last(new["mean"]), _last(new["variance"])), jax.lax.stop_gradient(mixed)


def _standardise(h: Any, mean: Any, variance: Any) -> Any:
    return (h - mean) * jax.lax.rsqrt(variance + EPSILON)


def _last(v: Any) -> Any:
    return v.reshape(1, 1, 1, -1)
