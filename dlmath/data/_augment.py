"""Augmentation: random maps of images that keep their classes, as pure functions of a key."""

from typing import Any

from jaxtyping import Array, Shaped

from dlmath import check
from dlmath.typing import Key


def crop_and_flip(key: Key, x: Any, *, padding: int = 4, flip: bool = True) -> Shaped[Array, "n h w c"]:
    """Images shifted at random and mirrored with probability ½, each on its own.

    An image is surrounded by `padding` pixels of zeros, and a window of its own size cut out uniformly: the standard
    augmentation of CIFAR-10. Given to `train.fit` as `augment`, it is drawn anew at every step; fix other options with
    `functools.partial`.

    Args:
        key: typed key.
        x: images, [n, height, width, channels].
        padding: largest shift, in pixels, at least 0.
        flip: whether to mirror left and right.

    Returns:
        Images of the shape and type of `x`.

    Raises:
        ValueError, TypeError: for arrays that are no images, or a negative padding.

    >>> import jax, jax.numpy as jnp
    >>> images = jnp.ones((5, 8, 8, 3))
    >>> crop_and_flip(jax.random.key(0), images, padding=0).sum().item()       # 5 * 8 * 8 * 3
    960.0

    References: He et al., "Deep residual learning for image recognition", 2016, section 4.2; Nakkiran et al., "Deep
    double descent", 2020, appendix B.
    """
    import jax
    import jax.numpy as jnp

    check.key("key", key)
    x = jnp.asarray(check.array("x", x, ndim=4, finite=False))
    padding = check.integer("padding", padding, at_least=0)
    if not isinstance(flip, bool):
        raise TypeError(f"flip must be True or False, got {flip!r}")
    n, height, width, channels = x.shape
    shift_key, flip_key = jax.random.split(key)
    if padding:
        surrounded = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        corners = jax.random.randint(shift_key, (n, 2), 0, 2 * padding + 1, "int32")
        cut = lambda image, corner: jax.lax.dynamic_slice(image, (*corner, jnp.int32(0)), (height, width, channels))
        x = jax.vmap(cut)(surrounded, corners)
    if flip:
        mirrored = jax.random.bernoulli(flip_key, 0.5, (n, 1, 1, 1))
        x = jnp.where(mirrored, x[:, :, ::-1], x)
    return x
