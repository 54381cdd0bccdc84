"""The Metropolis-adjusted Langevin algorithm."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpyro.infer import init_to_uniform

from dlmath import check
from dlmath.mcmc._adaptation import DualAveraging, dual_averaging, update
from dlmath.mcmc._curl import check_curl
from dlmath.mcmc._kernel import LangevinKernel, is_one_key
from dlmath.mcmc._line_integral import potential_rise
from dlmath.mcmc._tree import combine, dot, select, size
from dlmath.mcmc._ula import ula_step

Evaluate = Callable[[Any], tuple[Any, Any]]


class MALAState(NamedTuple):
    """State of `MALA`.

    Attributes:
        i: steps taken.
        z: the draw.
        potential_energy: U(z); from a score alone U(z) − U(start).
        z_grad: ∇U(z).
        accept_prob: acceptance probability of the last proposal.
        mean_accept_prob: their mean over the steps of warm-up, or since.
        step_size: ε of the next step.
        adaptation: state of the adaptation of ε; None without.
        num_warmup: steps of warm-up, during which ε adapts.
        rng_key: key of the next step.
    """

    i: Any
    z: Any
    potential_energy: Any
    z_grad: Any
    accept_prob: Any
    mean_accept_prob: Any
    step_size: Any
    adaptation: DualAveraging | None
    num_warmup: Any
    rng_key: Any


def log_proposal(y: Any, x: Any, gradient: Any, step_size: Any, temperature: Any) -> Any:
    """The log density log q(y | x) = −‖y − x + ε∇U(x)‖²/(4εT) up to a constant, of the step of ULA."""
    miss = combine(lambda y, x, g: y - x + step_size * g, y, x, gradient)
    return -dot(miss, miss) / (4 * step_size * temperature)


def log_acceptance(x: Any, at_x: Any, y: Any, at_y: Any, step_size: Any, temperature: Any = 1.0) -> Any:
    """The log ratio log [π(y) q(x | y) / π(x) q(y | x)], π ∝ exp(−U/T); at_x is (U(x), ∇U(x)), at_y the same at y."""
    (potential_x, gradient_x), (potential_y, gradient_y) = at_x, at_y
    backward = log_proposal(x, y, gradient_y, step_size, temperature)
    forward = log_proposal(y, x, gradient_x, step_size, temperature)
    return (potential_x - potential_y) / temperature + backward - forward


def mala_step(
    key: Any,
    x: Any,
    at_x: tuple[Any, Any],
    evaluate: Evaluate,
    step_size: Any,
    temperature: Any = 1.0,
    log_ratio: Callable[..., Any] = log_acceptance,
) -> tuple[Any, tuple[Any, Any], Any]:
    """Propose y = x − ε∇U(x) + √(2εT) ξ and take it with probability min(1, exp log_ratio).

    Returns:
        The new point, (U, ∇U) there, and the acceptance probability; `evaluate` gives (U, ∇U) at y.
    """
    key_proposal, key_accept = jax.random.split(key)
    y = ula_step(key_proposal, x, at_x[1], step_size, temperature)
    at_y = evaluate(y)
    ratio = log_ratio(x, at_x, y, at_y, step_size, temperature)
    # ∞ − ∞ and NaN: where the proposal has no finite density it is refused.
    accept_prob = jnp.where(jnp.isnan(ratio), 0.0, jnp.exp(jnp.minimum(ratio, 0.0)))
    accepted = jax.random.uniform(key_accept, dtype=accept_prob.dtype) < accept_prob
    return select(accepted, y, x), select(accepted, at_y, at_x), accept_prob


class MALA(LangevinKernel):
    """The Metropolis-adjusted Langevin algorithm: ULA's step as a proposal, accepted so that the law is exact.

    y = x + ε s(x) + √(2εT) ξ is taken with probability min(1, π(y) q(x|y) / π(x) q(y|x)), π ∝ p^(1/T). On a Gaussian of
    precision P the law is N(mean, T P⁻¹) for every ε. From a score alone, log π(y) − log π(x) is the line integral of s
    from x to y (Gauss-Legendre), exact where the score is a gradient and the quadrature accurate.

    Args:
        model: numpyro model; its sites come back constrained.
        potential_fn: U = −log density, (z, *args, **kwargs) -> scalar, up to a constant.
        score: s = −∇U, (z, *args, **kwargs) -> tree like z. Exactly one of these three; args are those of `MCMC.run`.
        step_size: ε > 0, where the adaptation starts.
        adapt_step_size: whether ε adapts during warm-up, by dual averaging; fixed from then on.
        target_accept_prob: in (0, 1); .574 is optimal in high dimension.
        temperature: T > 0.
        order: nodes of the line integral of a score.
        check_curl: whether to check at the start that a score is a gradient (`check_curl`; dense up to 1000 entries).
        tolerance: the largest curl accepted there.
        init_strategy: where the sites of a model start, as in numpyro.

    Raises:
        ValueError: for none or several targets, parameters out of range, a start without a finite potential, or, where it
            is checked, a score that is not a gradient. `acceptance` raises for a chain that never moved.

    >>> from numpyro.infer import MCMC
    >>> kernel = MALA(score=lambda x: -x, step_size=1.0, adapt_step_size=False)
    >>> mcmc = MCMC(kernel, num_warmup=10, num_samples=20000, progress_bar=False)
    >>> mcmc.run(jax.random.key(0), init_params=jnp.zeros(1))
    >>> print(f"{mcmc.get_samples().var():.1f}")                       # law: 1; without acceptance 1/(1 − ε/2) = 2
    1.0

    Cost: a value and a gradient a step; from a score, order + 1 evaluations.

    References:
        Roberts, Tweedie (1996), Exponential convergence of Langevin distributions and their discrete approximations.
        Roberts, Rosenthal (1998), Optimal scaling of discrete approximations to Langevin diffusions.
    """

    _log_ratio = staticmethod(log_acceptance)

    def __init__(
        self,
        model: Any = None,
        potential_fn: Any = None,
        *,
        score: Any = None,
        step_size: float = 0.1,
        adapt_step_size: bool = True,
        target_accept_prob: float = 0.574,
        temperature: float = 1.0,
        order: int = 8,
        check_curl: bool = False,
        tolerance: float = 1e-3,
        init_strategy: Callable[..., Any] = init_to_uniform,
    ) -> None:
        super().__init__(
            model=model,
            potential_fn=potential_fn,
            score=score,
            step_size=check.real("step_size", step_size, above=0.0),
            temperature=check.real("temperature", temperature, above=0.0),
            init_strategy=init_strategy,
        )
        self._adapt = adapt_step_size
        self._target = check.real("target_accept_prob", target_accept_prob, above=0.0, below=1.0)
        self._order = check.positive_int("order", order)
        self._check_curl = check_curl
        self._tolerance = check.real("tolerance", tolerance, above=0.0)

    def get_diagnostics_str(self, state: Any) -> str:
        text = f"step size {float(state.step_size):.2e}. acc. prob={float(state.mean_accept_prob):.2f}"
        stuck = state.mean_accept_prob < 1e-3 and _steps_averaged(state) >= 100
        return f"{text}: nothing is accepted, reduce step_size" if stuck else text

    def init(self, rng_key: Any, num_warmup: int, init_params: Any, model_args: Any, model_kwargs: Any) -> MALAState:
        state = super().init(rng_key, num_warmup, init_params, model_args, model_kwargs)
        if self._check_curl and self._score is not None:
            score = lambda z: self._score(z, *model_args, **(model_kwargs or {}))
            z, key = (state.z, rng_key) if is_one_key(rng_key) else jax.tree.map(lambda a: a[0], (state.z, rng_key))
            check_curl(score, z, tolerance=self._tolerance, key=None if size(z) <= 1000 else key)
        return state

    def _start(
        self, key: Any, z: Any, potential: Any, gradient: Any, num_warmup: int, args: Any, kwargs: Any
    ) -> MALAState:
        potential = jnp.zeros_like(dot(gradient, gradient)) if potential is None else potential
        accept_prob = jnp.zeros_like(potential - dot(gradient, gradient))
        step_size = jnp.asarray(self._step_size, accept_prob.dtype)
        adaptation = dual_averaging(step_size) if self._adapt and num_warmup > 0 else None
        return MALAState(
            jnp.array(0), z, potential, gradient, accept_prob, accept_prob, step_size, adaptation,
            jnp.array(num_warmup, jnp.int32), key,
        )  # fmt: skip

    def _step(self, state: Any, args: Any, kwargs: Any) -> MALAState:
        def evaluate(y: Any) -> tuple[Any, Any]:
            potential, gradient = self._evaluate(key, y, args, kwargs)
            if potential is None:
                score = lambda z: self._score(z, *args, **kwargs)
                potential = state.potential_energy + potential_rise(score, state.z, y, order=self._order)
            return potential, gradient

        rng_key, key = jax.random.split(state.rng_key)
        at_z = (state.potential_energy, state.z_grad)
        z, at_z, accept_prob = mala_step(
            key, state.z, at_z, evaluate, state.step_size, self._temperature, self._log_ratio
        )
        state = state._replace(i=state.i + 1, z=z, potential_energy=at_z[0], z_grad=at_z[1], rng_key=rng_key)
        # The first step after warm-up is the first of its own mean, which forgets the one before.
        mean = state.mean_accept_prob
        mean += (accept_prob - mean) / jnp.asarray(_steps_averaged(state), mean.dtype)
        return _adapted(state._replace(accept_prob=accept_prob, mean_accept_prob=mean), self._target)


def _steps_averaged(state: Any) -> Any:
    return jnp.where(state.i <= state.num_warmup, state.i, state.i - state.num_warmup)


def _adapted(state: MALAState, target: float) -> MALAState:
    """ε after one more step: tried values during warm-up, their average from its end on."""
    if state.adaptation is None:
        return state
    warming = state.i <= state.num_warmup
    adaptation = update(state.adaptation, state.accept_prob, target)
    found = jnp.exp(jnp.where(state.i < state.num_warmup, adaptation.log_step, adaptation.log_average))
    return state._replace(
        adaptation=select(warming, adaptation, state.adaptation),
        step_size=jnp.where(warming, found, state.step_size),
    )
