"""Loads neural-tangents 0.6.5 on the JAX of today, without changing JAX.

neural-tangents was last released for JAX 0.4.23. Since then JAX moved or removed the names it imports, and its
`experimental` package imports TensorFlow. Here its modules are executed, unmodified, with an import statement of
their own: inside them `import jax` yields a *view* of JAX in which the old names are where they were. The views exist
for these modules only; `jax`, and whatever else uses it, see no difference. Where each name went:

| neural-tangents imports | now |
|---|---|
| `jax.core.{Jaxpr, JaxprEqn, Literal, Primitive, Var}` | `jax.extend.core` |
| `jax.core.eval_context` | `jax.ensure_compile_time_eval` |
| `jax.core.DShapedArray` | gone with dynamic shapes: a class without instances |
| `jax.core.lattice_join` | gone; used only under `jax_enable_checks`, which the view reports as off |
| `jax.util.{safe_map, safe_zip}` | rewritten (`zip(..., strict=True)`) |
| `jax.interpreters.ad.linearize` | another signature: rebuilt from `jax.linearize` and `jax.make_jaxpr` |
| primitives' `map_primitive`, `reducing_transposes` | gone: equations are transposed by `jax.linear_transpose` |
| `jax.interpreters.ad.zeros_like_p` | gone: a primitive that never occurs |
| `jax.interpreters.ad.{config, source_info_util}` | checks off (as above), `jax._src.source_info_util` |
| `jax.extend.linear_util.wrap_init` | wants debug information |
| `jax.numpy.{size, dtype}` of a shape, of an array | `math.prod(a.shape)`, `a.dtype` |
| `jax.stages.Compiled.cost_analysis()[0]` | a dict, no longer a list of one |
| `scipy.linalg.eigvalsh(eigvals=)` | `subset_by_index` |
| `experimental.empirical_ntk_fn_tf` | a stand-in that raises ImportError; TensorFlow is never loaded |
"""

import builtins
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import math
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

__all__ = ["neural_tangents"]

_NAME = "neural_tangents"
_VERSION = "0.6.5"
_JAX_VERSIONS = ((0, 10), (0, 11), (0, 12))
_TENSORFLOW_CORNER = f"{_NAME}.experimental.empirical_tf.empirical"
_lock = threading.Lock()


def neural_tangents() -> ModuleType:
    """The module `neural_tangents`, version 0.6.5; afterwards `import neural_tangents` works in the whole process.

    The first call executes the installed package (about 0.3 s once JAX is imported), later calls look it up.
    Calls from several threads are safe. No TensorFlow is loaded, installed or not.

    Returns:
        The package, as `import neural_tangents` would give it on JAX 0.4.23.

    Raises:
        ImportError: if neural-tangents 0.6.5 is not installed, or JAX is not 0.10, 0.11 or 0.12.

    >>> nt = neural_tangents()
    >>> nt.__version__
    '0.6.5'

    Source: Novak et al. 2020, Neural Tangents: fast and easy infinite neural networks in Python, arXiv:1912.02803.
    """
    with _lock:
        if _NAME not in sys.modules:
            _check_versions()
            _forget_failed_import()
            with _finder():
                importlib.import_module(_NAME)
            empirical = sys.modules[f"{_NAME}._src.empirical"].__dict__
            empirical.update(_get_flops=_get_flops, _eqn_vjp_fn=_transpose_equation)
        return importlib.import_module(_NAME)


def _check_versions() -> None:
    import jax

    if tuple(jax.__version_info__[:2]) not in _JAX_VERSIONS:
        known = ", ".join(f"{major}.{minor}" for major, minor in _JAX_VERSIONS)
        raise ImportError(
            f"dlmath.compat loads neural-tangents {_VERSION} on JAX {known}, and does not know JAX {jax.__version__};"
            " install 'jax>=0.10,<0.13'"
        )
    try:
        installed = importlib.metadata.version("neural-tangents")
    except importlib.metadata.PackageNotFoundError:
        raise ImportError(
            f"neural-tangents is not installed; install 'neural-tangents=={_VERSION}' (pip's --no-deps leaves out"
            " TensorFlow, which is not needed)"
        ) from None
    if installed != _VERSION:
        raise ImportError(
            f"dlmath.compat knows neural-tangents {_VERSION}, got {installed}; install 'neural-tangents=={_VERSION}'"
        )


def _forget_failed_import() -> None:
    # A plain `import neural_tangents` that failed leaves those of its submodules that had succeeded.
    for name in [name for name in sys.modules if name.startswith(f"{_NAME}.")]:
        del sys.modules[name]


@contextmanager
def _finder() -> Iterator[None]:
    finder = _Finder(_private_builtins())
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds neural_tangents and its submodules only, and gives them a loader with builtins of their own."""

    def __init__(self, private_builtins: dict[str, Any]):
        self.private_builtins = private_builtins

    def find_spec(
        self, fullname: str, path: Any, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _NAME and not fullname.startswith(f"{_NAME}."):
            return None
        if fullname == _TENSORFLOW_CORNER:
            return importlib.machinery.ModuleSpec(fullname, _TensorFlowCornerLoader())
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path, self.private_builtins)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, private_builtins: dict[str, Any]):
        super().__init__(fullname, path)
        self.private_builtins = private_builtins

    def exec_module(self, module: ModuleType) -> None:
        # An import statement calls the `__import__` of its module's builtins; so do those inside functions, later.
        module.__dict__["__builtins__"] = self.private_builtins
        super().exec_module(module)


class _TensorFlowCornerLoader(importlib.abc.Loader):
    """A module with the names of neural-tangents' TensorFlow corner, which say why they do nothing."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        for name in ("empirical_ntk_fn_tf", "get_apply_fn_and_params"):
            module.__dict__[name] = _refuse_tensorflow(name)


def _refuse_tensorflow(name: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise ImportError(
            f"neural_tangents.experimental.{name} needs TensorFlow and tf2jax, which dlmath.compat keeps from loading;"
            " convert the model to a JAX function and call neural_tangents.empirical_ntk_fn"
        )

    refuse.__name__ = refuse.__qualname__ = name
    return refuse


def _private_builtins() -> dict[str, Any]:
    views = _views()

    def import_(
        name: str,
        globals: Any = None,  # the names `__import__` is called with
        locals: Any = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if level == 0 and name in views:
            # `import a.b` binds the view of `a`, `from a.b import c` asks the view of `a.b`.
            return views[name] if fromlist else views[name.partition(".")[0]]
        found = builtins.__import__(name, globals, locals, fromlist or (), level)
        return views["jax"] if found is views["jax"].__dict__["_original"] else found

    return {**vars(builtins), "__import__": import_}


class _View(ModuleType):
    """A module in which some names are overridden; all others are those of the original."""

    def __init__(self, original: Any, **overrides: Any):
        super().__init__(getattr(original, "__name__", "view"))
        self.__dict__.update(_original=original, **overrides)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_original"], name)


def _views() -> dict[str, _View]:
    import jax
    import jax.core
    import jax.extend.core
    import jax.extend.linear_util
    import jax.interpreters.ad
    import scipy.linalg
    from jax._src import source_info_util

    new = jax.extend.core
    core = _View(
        jax.core,
        Jaxpr=new.Jaxpr,
        JaxprEqn=new.JaxprEqn,
        Literal=new.Literal,
        Primitive=new.Primitive,
        Var=new.Var,
        eval_context=jax.ensure_compile_time_eval,
        DShapedArray=type("DShapedArray", (), {}),
    )
    ad = _View(
        jax.interpreters.ad,
        linearize=_linearize,
        zeros_like_p=new.Primitive("zeros_like"),
        config=SimpleNamespace(jax_enable_checks=False),
        source_info_util=source_info_util,
    )
    util = _View(SimpleNamespace(), safe_map=_safe_map, safe_zip=_safe_zip)
    interpreters = _View(jax.interpreters, ad=ad)
    linear_util = _View(jax.extend.linear_util, wrap_init=_wrap_init)
    extend = _View(jax.extend, linear_util=linear_util)
    numpy = _View(jax.numpy, size=_size, dtype=_dtype)
    return {
        "jax": _View(jax, core=core, util=util, interpreters=interpreters, extend=extend, numpy=numpy),
        "jax.core": core,
        "jax.util": util,
        "jax.interpreters": interpreters,
        "jax.interpreters.ad": ad,
        "jax.extend": extend,
        "jax.extend.linear_util": linear_util,
        "jax.numpy": numpy,
        "scipy": _View(scipy, linalg=_View(scipy.linalg, eigvalsh=_eigvalsh)),
    }


def _linearize(fun: Any, *primals: Any, has_aux: bool = False) -> tuple[Any, Any, Any, Any]:
    """`jax.interpreters.ad.linearize` of JAX 0.4.23: (outputs, partial values, jaxpr, consts) of a flat function."""
    import jax

    assert not has_aux
    outputs, tangent_map = jax.linearize(lambda *flat: tuple(fun.call_wrapped(*flat)), *primals)
    closed = jax.make_jaxpr(tangent_map)(*primals)
    unknown = SimpleNamespace(is_known=lambda: False)
    return outputs, [unknown] * len(outputs), closed.jaxpr, closed.consts


def _transpose_equation(equation: Any, cotangent: Any, *inputs: Any) -> Sequence[Any]:
    """neural-tangents' `_eqn_vjp_fn`, by `jax.linear_transpose`: its own reads primitives' former attributes."""
    import jax
    from jax.interpreters import ad

    if equation is None:
        return (cotangent,)
    unknown = [i for i, value in enumerate(inputs) if ad.is_undefined_primal(value)]
    if isinstance(cotangent, ad.Zero):
        transposed = [ad.Zero(inputs[i].aval) for i in unknown]
    else:
        arguments = list(inputs)

        def linear(*values: Any) -> Any:
            for i, value in zip(unknown, values, strict=True):
                arguments[i] = value
            return equation.primitive.bind(*arguments, **equation.params)

        structures = [jax.ShapeDtypeStruct(inputs[i].aval.shape, inputs[i].aval.dtype) for i in unknown]
        transposed = jax.linear_transpose(linear, *structures)(cotangent)
    result: list[Any] = [None] * len(inputs)
    for i, value in zip(unknown, transposed, strict=True):
        result[i] = value
    return result


def _wrap_init(function: Callable[..., Any]) -> Any:
    import jax
    import jax.extend.linear_util

    debug_info = jax.api_util.debug_info("linearize", function, (), {})
    return jax.extend.linear_util.wrap_init(function, debug_info=debug_info)


def _size(a: Any, axis: Any = None) -> int:
    import jax.numpy as jnp

    return math.prod(a.shape) if axis is None and hasattr(a, "shape") else jnp.size(a, axis)


def _dtype(value: Any) -> Any:
    import jax.numpy as jnp

    return jnp.dtype(getattr(value, "dtype", value))


def _eigvalsh(a: Any, eigvals: tuple[int, int]) -> Any:
    import scipy.linalg

    return scipy.linalg.eigvalsh(a, subset_by_index=eigvals)


def _get_flops(f: Callable[..., Any], optimize: bool, *args: Any, **kwargs: Any) -> float:
    """neural-tangents' own, for the dict that `cost_analysis` returns since JAX 0.4.36."""
    import jax

    lowered = jax.jit(f).lower(*args, **kwargs)
    analysis: Any = lowered.compile().cost_analysis() if optimize else lowered.cost_analysis()
    return analysis["flops"]


def _safe_map(f: Callable[..., Any], *sequences: Any) -> list[Any]:
    return [f(*args) for args in zip(*sequences, strict=True)]


def _safe_zip(*sequences: Any) -> list[tuple[Any, ...]]:
    return list(zip(*sequences, strict=True))
