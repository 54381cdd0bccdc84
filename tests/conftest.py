"""Shapes are executed: every annotated function of dlmath is checked by beartype while the tests run."""

import os
from pathlib import Path

# Before JAX is imported: compiled programs are kept between test runs and shared by the workers.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

from jaxtyping import install_import_hook

install_import_hook("dlmath", "beartype.beartype")
