"""Malformed calls around neural-tangents."""

import sys
from unittest import mock

import jax

import dlmath as dm
from dlmath import compat


def _load_on(jax_version=jax.__version__, installed=None):
    """`compat.neural_tangents()` as if for the first time, on another JAX or neural-tangents."""
    import importlib.metadata as metadata

    found = {"side_effect": metadata.PackageNotFoundError()} if installed == "none" else {"return_value": installed}
    others = {name: module for name, module in sys.modules.items() if name.partition(".")[0] != "neural_tangents"}
    with (
        mock.patch.dict(sys.modules, others, clear=True),
        mock.patch.object(jax, "__version__", jax_version),
        mock.patch.object(jax, "__version_info__", tuple(int(part) for part in jax_version.split(".")[:3])),
        mock.patch.object(metadata, "version", **found),
    ):
        return compat.neural_tangents()


CASES = [
    ("a JAX too new", lambda: _load_on("0.13.0"), ImportError, r"JAX 0\.10, 0\.11, 0\.12, and does not know JAX 0\.13"),
    (
        "a JAX too old",
        lambda: _load_on("0.9.2"),
        ImportError,
        r"does not know JAX 0\.9\.2; install 'jax>=0\.10,<0\.13'",
    ),
    ("no neural-tangents", lambda: _load_on(installed="none"), ImportError, r"not installed; install 'neural-tangents"),
    ("another neural-tangents", lambda: _load_on(installed="0.6.2"), ImportError, r"knows .* 0\.6\.5, got 0\.6\.2"),
    (
        "the TensorFlow corner",
        lambda: compat.neural_tangents().experimental.empirical_ntk_fn_tf(None),
        ImportError,
        r"empirical_ntk_fn_tf needs TensorFlow .* call neural_tangents\.empirical_ntk_fn",
    ),
    (
        "the other TensorFlow corner",
        lambda: compat.neural_tangents().experimental.get_apply_fn_and_params(None),
        ImportError,
        r"get_apply_fn_and_params needs TensorFlow",
    ),
    ("a misspelt subpackage", lambda: dm.compatt, AttributeError, r"'compatt'; did you mean 'compat'\?"),
]
