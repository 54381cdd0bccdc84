"""Shapes are executed: every annotated function of dlmath is checked by beartype while the tests run."""

import os
from pathlib import Path

# Before JAX is imported: compiled programs are kept between test runs and shared by the workers.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

import gc
import sys
import types

import jax
import pytest
import scipy.linalg  # noqa: F401 (loads the BLAS library of JAX)
import threadpoolctl
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

# The programs of tests are many, small, and run once or twice: compiled plainly they take a fifth of the time, in one
# piece three quarters of that, since all cores have work. Papers and notebooks run longer, in processes of their own
# whose programs are optimised, though not at all costs; `XLA_FLAGS= make test` compiles everything as for users.
PLAIN = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
QUICK = f"--xla_backend_optimization_level=0 {PLAIN}"
OPTIMIZED = f"--xla_backend_optimization_level=1 {PLAIN}"
os.environ.setdefault("XLA_FLAGS", QUICK)

# An int is a float here as it is for static type checkers (PEP 484's numeric tower).
checker = types.ModuleType("dlmath_typechecker")
checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True))
sys.modules[checker.__name__] = checker
install_import_hook("dlmath", "dlmath_typechecker.check")

# Modules that take minutes are begun first, so that all workers have something to do until the end.
LONGEST = ("test_experiments.py", "test_notebooks.py")

MAPS = Path("/proc/self/maps")
# Linux allows a process 65,530 of them; XLA takes several a program, and crashes beyond.
MANY_MAPS = 20_000


def pytest_collection_modifyitems(items):
    """Orders modules, which workers take in this order."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def optimized_environment():
    """The environment for processes that run longer than they compile."""
    flags = OPTIMIZED if os.environ["XLA_FLAGS"] == QUICK else os.environ["XLA_FLAGS"]
    return {**os.environ, "XLA_FLAGS": flags, "OPENBLAS_NUM_THREADS": "1"}


@pytest.fixture(autouse=True, scope="session")
def _one_blas_thread():
    """Every core has a worker already; more threads would wait for one another, and busily."""
    with threadpoolctl.threadpool_limits(1):
        yield


@pytest.fixture(autouse=True, scope="module")
def _few_memory_maps():
    """Forgets compiled programs when they have taken many memory maps; what took long to compile is on disk."""
    yield
    if MAPS.exists() and MAPS.read_text().count("\n") > MANY_MAPS:
        jax.clear_caches()
        gc.collect()
