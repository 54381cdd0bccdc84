"""A kernel for numpyro's MCMC from an algorithm of blackjax."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpyro.infer.mcmc import MCMCKernel

from dlmath.mcmc._kernel import is_one_key


class BlackjaxState(NamedTuple):
    """State of `FromBlackjax`: steps taken, the draw, the algorithm's own state, acceptance (NaN if unknown), the key."""

    i: Any
    z: Any
    inner: Any
    accept_prob: Any
    rng_key: Any


class FromBlackjax(MCMCKernel):
    """A numpyro kernel from a blackjax algorithm, that is from init(position, key) and step(key, state) -> (state, info).

        kernel = FromBlackjax(blackjax.mala(log_density, step_size=0.1))
        MCMC(kernel, num_warmup=500, num_samples=1000).run(key, init_params=position)

    The law is the algorithm's. Its parameters stay as they are: adapt them with blackjax first. Algorithms whose step
    takes a minibatch are not taken; `SGLD` and others here are.

    Args:
        algorithm: anything with `init` and `step` as above, whose states have a `position`; blackjax is not imported.

    Raises:
        TypeError: for an algorithm without them.

    >>> from types import SimpleNamespace as Record
    >>> State = NamedTuple("State", [("position", Any)])
    >>> half = Record(init=lambda z, key: State(z), step=lambda key, state: (State(state.position / 2), None))
    >>> kernel = FromBlackjax(half)
    >>> print(kernel.sample(kernel.init(jax.random.key(0), 0, jnp.ones(2), (), {}), (), {}).z)
    [0.5 0.5]

    Cost: that of the algorithm.
    """

    model = None
    sample_field = "z"  # pyright: ignore[reportAssignmentType]

    def __init__(self, algorithm: Any) -> None:
        if not (callable(getattr(algorithm, "init", None)) and callable(getattr(algorithm, "step", None))):
            raise TypeError(
                f"algorithm must have init(position, key) and step(key, state), as blackjax.mala(...) has, got {algorithm!r}"
            )
        self._algorithm = algorithm

    def init(
        self, rng_key: Any, num_warmup: int, init_params: Any, model_args: Any, model_kwargs: Any
    ) -> BlackjaxState:
        if init_params is None:
            raise ValueError("init_params must be given to MCMC.run where there is no model, got None")

        def start(key: Any, z: Any) -> BlackjaxState:
            rng_key, key = jax.random.split(key)
            return BlackjaxState(jnp.zeros((), jnp.int32), z, self._algorithm.init(z, key), jnp.array(jnp.nan), rng_key)

        return (start if is_one_key(rng_key) else jax.vmap(start))(rng_key, init_params)

    def sample(self, state: Any, model_args: Any, model_kwargs: Any) -> BlackjaxState:
        return (self._step if is_one_key(state.rng_key) else jax.vmap(self._step))(state)

    def _step(self, state: Any) -> BlackjaxState:
        rng_key, key = jax.random.split(state.rng_key)
        inner, info = self._algorithm.step(key, state.inner)
        accept_prob = jnp.asarray(getattr(info, "acceptance_rate", jnp.nan), state.accept_prob.dtype)
        return BlackjaxState(state.i + 1, inner.position, inner, accept_prob, rng_key)

    @property
    def _sample_fn(self) -> Any:
        return self.sample  # nothing has to be made anew when MCMC.run resumes
