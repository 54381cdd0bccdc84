"""dlmath: deep-learning theory as ordinary function calls, on JAX.

>>> import dlmath as dm
>>> dm.models.__name__
'dlmath.models'
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlmath import (
        bnn,
        check,
        compat,
        data,
        double_descent,
        files,
        hessian,
        kernels,
        linalg,
        mcmc,
        models,
        ntk,
        plot,
        report,
        repro,
        review,
        sharding,
        train,
        typing,
        workspace,
    )

__version__ = "0.1.0.dev0"

__all__ = [
    "bnn",
    "check",
    "compat",
    "data",
    "double_descent",
    "files",
    "hessian",
    "kernels",
    "linalg",
    "mcmc",
    "models",
    "ntk",
    "plot",
    "report",
    "repro",
    "review",
    "sharding",
    "train",
    "typing",
    "workspace",
]


def __getattr__(name: str) -> Any:
    # Subpackages load on first use, so that `import dlmath` costs next to nothing.
    if name in __all__:
        return importlib.import_module(f"dlmath.{name}")
    check = importlib.import_module("dlmath.check")
    raise AttributeError(f"module 'dlmath' has no attribute {name!r}{check.did_you_mean(name, __all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
