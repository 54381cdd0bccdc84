"""What is known about a distribution that samplers are judged by."""

from collections.abc import Callable
from typing import Any, NamedTuple

from dlmath.typing import Estimate


def identity(x: Any) -> Any:
    """The quantities of most targets: the position itself."""
    return x


class Target(NamedTuple):
    """A distribution on positions x, with its known answers.

    `mean` and `covariance` are those of `quantities(x)`, which is x itself unless the target says otherwise. Their
    standard errors are 0 where they are exact; None where nothing is known.

    Attributes:
        log_density: x [d] -> scalar, in nats.
        score: x [d] -> ∇ log density [d]; None for discrete targets.
        initial: [d], a position at which chains may start.
        sample: (key, num_samples) -> independent draws [n, d], or None.
        mean: Estimate of shape [q], or None.
        covariance: Estimate of shape [q, q], or None.
        log_normalizer: log ∫ exp(log_density), 0 for a normalised density; None where unknown.
        quantities: x [d] -> [q].
        model: the same distribution as a numpyro model without arguments, or None.
        diffused_log_density: (x, scale, std) -> log density at x of scale · X + std · noise, or None. Exploding variance:
            scale 1, std σ. Preserving variance: scale √(1 − std²).
        diffused_score: (x, scale, std) -> the gradient of that [d], or None.
        source: where the moments come from.
    """

    log_density: Callable[[Any], Any]
    score: Callable[[Any], Any] | None
    initial: Any
    sample: Callable[[Any, int], Any] | None = None
    mean: Estimate | None = None
    covariance: Estimate | None = None
    log_normalizer: Any = None
    quantities: Callable[[Any], Any] = identity
    model: Callable[[], Any] | None = None
    diffused_log_density: Callable[[Any, Any, Any], Any] | None = None
    diffused_score: Callable[[Any, Any, Any], Any] | None = None
    source: str = "exact"


def exact(value: Any) -> Estimate:
    """An estimate without error."""
    return Estimate(value, 0.0 * value)
