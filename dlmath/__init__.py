"""dlmath: deep-learning theory as ordinary function calls, on JAX.

>>> import dlmath as dm
>>> dm.models.__name__
'dlmath.models'
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlmath import compat, data, files, kernels, linalg, models, plot, repro, train, typing, workspace

__version__ = "0.1.0.dev0"

_SUBPACKAGES = (
    "compat",
    "data",
    "files",
    "kernels",
    "linalg",
    "models",
    "plot",
    "repro",
    "train",
    "typing",
    "workspace",
)

__all__ = [
    "compat",
    "data",
    "files",
    "kernels",
    "linalg",
    "models",
    "plot",
    "repro",
    "train",
    "typing",
    "workspace",
]


def __getattr__(name: str) -> Any:
    # Subpackages load on first use, so that `import dlmath` costs next to nothing.
    if name in _SUBPACKAGES:
        return importlib.import_module(f"dlmath.{name}")
    check = importlib.import_module("dlmath.check")
    raise AttributeError(f"module 'dlmath' has no attribute {name!r}{check.did_you_mean(name, _SUBPACKAGES)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBPACKAGES})
