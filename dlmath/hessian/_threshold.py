"""Largest curvature at which an optimizer is stable."""

from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dlmath import check

_MOMENTUM = {
    "gd": lambda beta: 2.0,
    "sgd": lambda beta: 2.0,
    "rmsprop": lambda beta: 2.0,
    "momentum": lambda beta: 2 * (1 + beta),
    "nesterov": lambda beta: 2 * (1 + beta) / (1 + 2 * beta),
    "ema": lambda beta: 2 * (1 + beta) / (1 - beta),
    "adam": lambda beta: 2 * (1 + beta) / (1 - beta),
    "nadam": lambda beta: 2 * (1 + beta) / ((1 - beta) * (1 + 2 * beta)),
}
_WITH_MOMENTUM = ("momentum", "nesterov", "ema")
_WITH_B1 = ("adam", "nadam")


def stability_threshold(
    name: str, learning_rate: ArrayLike, *, momentum: ArrayLike | None = None, b1: ArrayLike | None = None
) -> float | Float[Array, ""]:
    """The sharpness λ* above which full-batch training on a quadratic diverges.

    On ½λθ² every update is linear in the last two iterates. Its spectral radius passes 1 where a root reaches −1, at

    - "gd", "sgd": 2/η;
    - "momentum", heavy ball without dampening, u ← βu + g: (2 + 2β)/η;
    - "nesterov", the curvature taken at optax's look-ahead iterate (`optax.sgd(nesterov=True)`, its gradient is
      taken at the parameters it returns): 2(1 + β)/((1 + 2β)η);
    - "ema", heavy ball with dampening, u ← βu + (1 − β)g: 2(1 + β)/((1 − β)η);
    - "rmsprop": 2/η, for the preconditioned sharpness λmax(P⁻¹H) with a slowly changing P;
    - "adam": 2(1 + β₁)/((1 − β₁)η), and "nadam" 2(1 + β₁)/((1 − β₁)(1 + 2β₁)η), for λmax(P⁻¹H) likewise.

    Args:
        name: "gd", "sgd", "momentum", "nesterov", "ema", "rmsprop", "adam" or "nadam".
        learning_rate: η > 0.
        momentum: β in [0, 1); needed by "momentum", "nesterov" and "ema", and taken by no other.
        b1: β₁ in [0, 1), decay of the mean gradient; 0.9 by default for "adam" and "nadam", taken by no other.

    Returns:
        λ*, a float (a scalar array where η, β or β₁ is traced); compare with `sharpness(..., preconditioner=...)`.

    Raises:
        ValueError, TypeError: for an unknown name, a parameter out of its range, missing or not of this optimizer.

    Source: Cohen et al. 2021 (2103.00065), section 2 and appendix B; Cohen et al. 2022 (2207.14484) for Adam.

    >>> round(stability_threshold("adam", 1.0, b1=0.9), 6)
    38.0
    """
    name = check.one_of("name", name, list(_MOMENTUM))
    learning_rate = check.real("learning_rate", learning_rate, above=0.0)
    if momentum is not None and name not in _WITH_MOMENTUM:
        raise ValueError(f"momentum must be None for name={name!r}, got {momentum}{_advice(name)}")
    if b1 is not None and name not in _WITH_B1:
        raise ValueError(f"b1 must be None for name={name!r}, got {b1}; only {' and '.join(_WITH_B1)} have it")
    if name in _WITH_MOMENTUM:
        if momentum is None:
            raise ValueError(f"momentum must be given for name={name!r}, got None; use name='gd' for none")
        beta = check.real("momentum", momentum, at_least=0.0, below=1.0)
    else:
        beta = check.real("b1", 0.9 if b1 is None else b1, at_least=0.0, below=1.0)
    return _MOMENTUM[name](beta) / learning_rate


def _advice(name: str) -> str:
    return "; use b1" if name in _WITH_B1 else "; use name='momentum' or name='nesterov'"
