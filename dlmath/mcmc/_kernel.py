"""What `numpyro.infer.MCMC` asks of a kernel, once for all kernels here.

A kernel is a pure step (state, args, kwargs) -> state on one chain; this class adds the start, chains along a leading
axis (`chain_method="vectorized"` hands over a batch of keys), numpyro models with their constrained sites, and checks.
"""

import copy
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from numpyro.infer import init_to_uniform
from numpyro.infer.mcmc import MCMCKernel
from numpyro.infer.util import initialize_model

from dlmath import check
from dlmath.mcmc._schedules import checked_schedule, value_at
from dlmath.mcmc._tree import names


class LangevinKernel(MCMCKernel):
    """Base of the kernels of `dlmath.mcmc`: subclasses say how a chain starts (`_start`) and steps (`_step`).

    Its state is a NamedTuple with at least i (steps taken), z (the draw) and rng_key, and everything the next step
    needs: nothing else is remembered, so that a chain goes on from a stored state as if it had never stopped. Where it
    has z_grad, that is the gradient of the potential at z, and potential_energy its value (None from a score alone).
    """

    def __init__(
        self,
        *,
        step_size: Any,
        temperature: Any = 1.0,
        init_strategy: Callable[..., Any] = init_to_uniform,
        **targets: Any,
    ) -> None:
        given = [name for name, value in targets.items() if value is not None]
        if len(given) != 1:
            listed = ", ".join(targets)
            raise ValueError(f"exactly one of {listed} must be given, got {' and '.join(given) or 'none'}")
        check.callable_(given[0], targets[given[0]])
        self._model: Any = targets.get("model")
        self._potential_fn: Any = targets.get("potential_fn")
        self._score: Any = targets.get("score")
        self._step_size = checked_schedule("step_size", step_size)
        self._temperature = checked_schedule("temperature", temperature)
        self._init_strategy = init_strategy
        self._potential_of_model: Any = None
        self._postprocess_of_model: Any = None

    # What numpyro reads --------------------------------------------------------------------------------------------

    @property
    def model(self) -> Any:
        """The numpyro model, or None (ArviZ asks for it)."""
        return self._model

    @property
    def sample_field(self) -> str:
        return "z"

    @property
    def _sample_fn(self) -> Any:
        # MCMC.run starts a kernel anew unless this is set. Only a model has to be: its potential is made at the start.
        return None if self._model is not None else self.sample

    def get_diagnostics_str(self, state: Any) -> str:
        return f"step size {float(value_at(self._step_size, state.i)):.2e}"

    def postprocess_fn(self, model_args: Any, model_kwargs: Any) -> Callable[[Any], Any]:
        if self._postprocess_of_model is None:
            return lambda z: z
        return self._postprocess_of_model(*model_args, **(model_kwargs or {}))

    def init(self, rng_key: Any, num_warmup: int, init_params: Any, model_args: Any, model_kwargs: Any) -> Any:
        args, kwargs = tuple(model_args), model_kwargs or {}
        chains = _over_chains(rng_key)
        rng_key, key_model, key_start = chains(lambda key: tuple(jax.random.split(key, 3)))(rng_key)
        z = self._starting_point(key_model, init_params, args, kwargs)
        potential, gradient = chains(lambda key, z: self._evaluate(key, z, args, kwargs))(key_start, z)
        _refuse_non_finite(z, potential, gradient)
        start = lambda key, z, *at_z: self._start(key, z, at_z[0], at_z[1], num_warmup, args, kwargs)
        state = chains(start)(key_start, z, potential, gradient)
        return state._replace(rng_key=rng_key)

    def sample(self, state: Any, model_args: Any, model_kwargs: Any) -> Any:
        step = lambda state: self._step(state, tuple(model_args), model_kwargs or {})
        return _over_chains(state.rng_key)(step)(state)

    def refresh(self, state: Any, model_args: Any, model_kwargs: Any) -> Any:
        """The same point under other arguments: what the state holds of the potential, computed again."""
        if not hasattr(state, "z_grad"):
            return state
        evaluate = lambda state: self._evaluate(state.rng_key, state.z, tuple(model_args), model_kwargs or {})
        potential, gradient = _over_chains(state.rng_key)(evaluate)(state)
        return state._replace(potential_energy=potential, z_grad=gradient)

    def wrap_model(self, wrapper: Callable[[Any], Any]) -> "LangevinKernel":
        """A copy of this kernel on the model wrapper(model): a block of numpyro's `Gibbs`."""
        if self._model is None:
            raise ValueError("model must be given for a kernel to be a block of another, got a potential or a score")
        kernel = copy.copy(self)
        kernel._model = wrapper(self._model)
        kernel._potential_of_model = kernel._postprocess_of_model = None
        return kernel

    # What subclasses say, and use ----------------------------------------------------------------------------------

    def _start(self, key: Any, z: Any, potential: Any, gradient: Any, num_warmup: int, args: Any, kwargs: Any) -> Any:
        """The state of one chain at z; `init` puts its key in."""
        raise NotImplementedError

    def _step(self, state: Any, args: Any, kwargs: Any) -> Any:
        """The next state of one chain."""
        raise NotImplementedError

    def _evaluate(self, key: Any, z: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Potential (None from a score alone) and its gradient at z."""
        if self._score is not None:
            return None, jax.tree.map(jnp.negative, self._score(z, *args, **kwargs))
        if self._model is not None:
            potential = self._potential_of_model(*args, **kwargs)
        else:
            potential = lambda z: self._potential_fn(z, *args, **kwargs)
        return jax.value_and_grad(potential)(z)

    def _starting_point(self, key: Any, init_params: Any, args: Any, kwargs: Any) -> Any:
        if self._model is not None:
            try:
                found = initialize_model(
                    key,
                    self._model,
                    init_strategy=self._init_strategy,
                    dynamic_args=True,
                    model_args=args,
                    model_kwargs=kwargs,
                )
            except RuntimeError as error:
                if "valid initial parameters" not in str(error):
                    raise
                raise ValueError(self._no_start(key, args, kwargs)) from error
            self._potential_of_model, self._postprocess_of_model = found.potential_fn, found.postprocess_fn
            init_params = found.param_info.z if init_params is None else init_params
        if init_params is None:
            raise ValueError("init_params must be given to MCMC.run where there is no model, got None")
        for name, leaf in zip(names(init_params), jax.tree.leaves(init_params), strict=True):
            if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
                where = f"init_params {name!r}" if name else "init_params"
                raise TypeError(f"{where} must be of floating point, got dtype {jnp.result_type(leaf)}")
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), init_params)

    def _no_start(self, key: Any, args: Any, kwargs: Any) -> str:
        key = key if is_one_key(key) else key[0]
        model = handlers.substitute(handlers.seed(self._model, key), substitute_fn=self._init_strategy)
        sites = handlers.trace(model).get_trace(*args, **kwargs)
        faulty = [
            name
            for name, site in sites.items()
            if site["type"] == "sample" and not np.isfinite(site["fn"].log_prob(site["value"])).all()
        ]
        found = f"sites {', '.join(map(repr, faulty))} have none" if faulty else "its gradient is not finite"
        return (
            f"model must have a finite log density where chains start, and none was found: {found};"
            " choose another init_strategy or init_params, or mend the model and its data"
        )


def is_one_key(key: Any) -> bool:
    """Whether a key is one, typed or raw, and not one for each chain."""
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return key.ndim == (0 if typed else 1)


def _over_chains(key: Any) -> Callable[..., Any]:
    """`vmap` for a batch of keys, nothing for one."""
    return (lambda function: function) if is_one_key(key) else jax.vmap


def _refuse_non_finite(z: Any, potential: Any, gradient: Any) -> None:
    """Raises ValueError that names what is not finite; under a transformation there is nothing to look at."""
    if any(check.is_traced(leaf) for leaf in jax.tree.leaves((z, potential, gradient))):
        return
    faulty = lambda tree: [
        name
        for name, leaf in zip(names(tree), jax.tree.leaves(tree), strict=True)
        if not np.isfinite(np.asarray(leaf, np.float64)).all()
    ]
    listed = lambda leaves: ", ".join(map(repr, leaves)) if any(leaves) else "it"
    if wrong := faulty(z):
        raise ValueError(f"init_params must be finite, got NaN or infinity in {listed(wrong)}")
    wrong = faulty(gradient)
    if potential is not None and not np.isfinite(np.asarray(potential, np.float64)).all():
        values = np.asarray(potential, np.float64)
        suspects = listed(wrong or names(z))
        look = f"look at {suspects}, and " if suspects != "it" else ""
        raise ValueError(
            f"init_params must have a finite potential, got {values[~np.isfinite(values)].ravel()[0]:g};"
            f" {look}start elsewhere or mend the potential"
        )
    if wrong:
        raise ValueError(
            f"init_params must have a finite gradient, got NaN or infinity in that of {listed(wrong)};"
            " start elsewhere or mend the target"
        )
