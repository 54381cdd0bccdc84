"""A workspace with one small experiment, whose text each test may edit."""

import pytest

TOY = '''"""Means of Gaussians (Gauss 1809).

The mean of n samples has mean zero and variance 1/n.
"""

from dataclasses import dataclass

import jax
import numpy as np

from dlmath.repro import AtLeast, Claim, Curve, Equal, Experiment, Slope, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    widths: tuple[int, ...] = (4, 16)
    """Numbers of samples."""
    num_seeds: int = 20
    """Number of seeds."""
    spread: float = 1.0
    """Standard deviation of a sample."""


SCALES = {"smoke": Config(), "laptop": Config(widths=(4, 16, 64))}


def theory(config, width):
    return config.spread**2 / np.asarray(width)


def helper(x):
    return x.mean(axis=1)


def measure(config, keys, *, width):
    """One unit."""
    x = config.spread * jax.vmap(lambda key: jax.random.normal(key, (width,)))(keys)
    return {"mean": helper(x), "square": helper(x) ** 2}


def constant(config, keys):
    return {"answer": 42.0}


CLAIMS = (
    Claim(
        "centred",
        "the mean is 0",
        source="Thm 1",
        expect=Equal(0.0, atol=0.5),
        statistic=lambda config, r: r["means/mean"].sel(width=16),
    ),
)


def figures(config, results):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.add_subplot().plot(results["means/mean"].mean("seed"))
    return {"means": figure}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "means": Study(measure, over={"width": "widths"}, seeds_per_unit=20),
        "constant": Study(constant, num_seeds=None),
    },
    claims=CLAIMS,
    figures=figures,
    precision="float64",
)
'''


@pytest.fixture
def toy(tmp_path):
    """Path of the experiment in a workspace of its own."""
    path = tmp_path / "experiments" / "toy.py"
    path.parent.mkdir()
    path.write_text(TOY)
    return path


@pytest.fixture
def edit(toy):
    """Replaces text in the experiment, which must be there."""

    def replace(old, new):
        text = toy.read_text()
        assert old in text
        toy.write_text(text.replace(old, new))

    return replace
