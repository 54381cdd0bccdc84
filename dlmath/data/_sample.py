"""The record that generators return, and the checks they share."""

from typing import Any, NamedTuple

from jaxtyping import Array, Float, Shaped

from dlmath import check
from dlmath.typing import Key


class Sample(NamedTuple):
    """Independent draws of a pair.

    Attributes:
        x: inputs, [n, d].
        y: targets, [n]: reals, or int32 class labels.
    """

    x: Float[Array, "n d"]
    y: Shaped[Array, " n"]


def check_draw(key: Key, num_samples: int) -> tuple[Key, int]:
    """The two arguments that every generator begins with."""
    return check.key("key", key), check.positive_int("num_samples", num_samples)


def noise_level(noise_std: Any) -> Any:
    """A standard deviation, which may be traced."""
    return check.real("noise_std", noise_std, at_least=0.0)
