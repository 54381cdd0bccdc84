"""What importing costs, told by what is imported; the times are in the benchmarks."""

import json
import subprocess
import sys

import pytest

HEAVY = {"jax", "jaxlib", "numpy", "scipy", "xarray", "zarr", "sklearn", "matplotlib", "flax", "optax", "numpyro"}
SUBPACKAGES = (
    "compat",
    "data",
    "double_descent",
    "files",
    "kernels",
    "linalg",
    "mcmc",
    "models",
    "plot",
    "repro",
    "train",
    "typing",
)


def _modules_after(program):
    """Names of the modules that a fresh interpreter has imported after `program`."""
    program += "\nimport json, sys; print(); print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_importing_dlmath_imports_no_numerical_library():
    assert HEAVY.isdisjoint(_modules_after("import dlmath"))


def test_importing_dlmath_adds_less_than_a_tenth_of_the_modules_of_jax():
    bare, ours, jax = (len(_modules_after(program)) for program in ("", "import dlmath", "import jax"))
    assert ours - bare < 0.1 * (jax - bare)


def test_every_subpackage_is_loaded_on_first_use():
    program = "import dlmath\nassert all(hasattr(dlmath, name) for name in {names!r})"
    loaded = _modules_after(program.format(names=SUBPACKAGES))
    assert {f"dlmath.{name}" for name in SUBPACKAGES} <= loaded


def test_the_error_for_an_unknown_subpackage_suggests_the_nearest():
    import dlmath

    with pytest.raises(AttributeError, match="did you mean 'models'"):
        dlmath.model  # noqa: B018


@pytest.mark.parametrize("arguments", [["list"], ["--help"]], ids=" ".join)
def test_the_command_line_lists_papers_without_jax_or_xarray(arguments):
    program = (
        f"import contextlib\nfrom dlmath.cli import main\nwith contextlib.suppress(SystemExit):\n    main({arguments})"
    )
    assert (HEAVY - {"numpy"}).isdisjoint(_modules_after(program))


@pytest.mark.parametrize("module", ["dlmath.check", "dlmath.repro", "dlmath.plot"])
def test_claims_and_figures_are_independent_of_jax(module):
    # What judges and draws stored results does not need the library that computed them.
    assert "jax" not in _modules_after(f"import {module}")
