"""A workspace with a small experiment whose claims meet every verdict, run at two scales."""

import shutil
from html.parser import HTMLParser

import pytest

from dlmath import report, repro

TOY = '''"""Means of Gaussians <i>and more</i> (Gauss 1809).

The mean of n samples has variance

    1/n < 2.
"""

from dataclasses import dataclass

import jax
import numpy as np

from dlmath.repro import AtLeast, AtMost, Claim, Curve, Equal, Experiment, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    widths: tuple[int, ...] = (4, 16)
    """Numbers of samples n."""
    num_seeds: int = 20
    """Number of seeds."""
    fail_at: int = 0
    """Width that raises."""
    nan_at: int = 0
    """Width that gives NaN."""


SCALES = {"smoke": Config(), "laptop": Config(widths=(4, 16, 64), fail_at=16, nan_at=64)}


def measure(config, keys, *, width):
    if width == config.fail_at:
        raise RuntimeError("no such <width>")
    x = jax.vmap(lambda key: jax.random.normal(key, (width,)))(keys).mean(axis=1)
    return {"mean": x * (np.nan if width == config.nan_at else 1.0), "square": x**2}


def constant(config, keys):
    return {"answer": 42.0}


CLAIMS = (
    Claim("centred", "the mean is 0", source="Thm 1", expect=Equal(0.0, atol=0.5),
          statistic=lambda config, r: r["means/mean"].sel(width=16)),
    Claim("variance", "the variance is 1/n", source="eq. (2)", basis="formula",
          expect=Curve(lambda config, width: 1 / width, rtol=3.0), statistic=lambda config, r: r["means/square"]),
    Claim("nine", "the mean is 9", source="Thm 2", expect=Equal(9.0, atol=0.5),
          statistic=lambda config, r: r["means/mean"].sel(width=16), fails="the samples are centred"),
    Claim("vague", "the mean is very near 0", source="Thm 3", expect=Equal(0.0, atol=0.05),
          statistic=lambda config, r: r["means/mean"].sel(width=16)),
    Claim("large", "n may be 1000", source="Sec. 4", expect=AtLeast(1.0), statistic=lambda config, r: 1.0,
          needs=lambda config: 1000 in config.widths),
    Claim("markup", "<script>alert(1)</script> & \\"so on\\"", source="p. <5>", expect=AtMost(42.0), basis="independent",
          statistic=lambda config, r: r["constant/answer"]),
    Claim("wrong", "forty-two is one", source="Sec. 6", expect=Equal(1.0), statistic=lambda config, r: r["constant/answer"]),
    Claim("typo", "a claim with a mistake", source="Sec. 5", expect=Equal(1.0), statistic=lambda config, r: r["maens/x"]),
)


def figures(config, results):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.add_subplot().plot([0, 1], [0, 1])
    return {"two_means": figure}


EXPERIMENT = Experiment(
    Config, SCALES,
    studies={"means": Study(measure, over={"width": "widths"}, seeds_per_unit=20), "constant": Study(constant, num_seeds=None)},
    claims=CLAIMS, figures=figures, precision="float64", deviations=("samples are drawn by a computer",),
)
'''

VERDICTS = {
    "centred": "reproduced",
    "variance": "reproduced",
    "nine": "not reproduced, as known",
    "vague": "inconclusive",
    "large": "not testable at this scale",
    "markup": "reproduced",
    "wrong": "not reproduced",
    "typo": "error in the claim",
}


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    root = tmp_path_factory.mktemp("workspace")
    path = root / "experiments" / "toy.py"
    path.parent.mkdir()
    path.write_text(TOY)
    paper = repro.load(path)
    for scale in ("smoke", "laptop"):
        command = f"dlmath run toy --scale {scale} --results {root}/results"
        repro.run(paper, scale=scale, results=root / "results", command=command)
    return root


@pytest.fixture
def workspace(ran, tmp_path):
    """A copy of the workspace, for a test that edits it."""
    return shutil.copytree(ran, tmp_path / "w")


@pytest.fixture(scope="session")
def site(ran, tmp_path_factory):
    return report.site(ran, tmp_path_factory.mktemp("site"), results=ran / "results")


@pytest.fixture(scope="session")
def page(site):
    return Page(site.pages["toy"].read_text())


class Page(HTMLParser):
    """The text of a page as a reader sees it, whole and by id, and the attributes of every element."""

    VOID = ("meta", "img", "br", "input", "link", "rect", "line", "circle")

    def __init__(self, html):
        super().__init__()
        self.html, self.elements, self.text, self.by_id, self._open = html, [], "", {}, []
        self.feed(html)
        self.close()
        assert self._open == [], "elements are left open"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if "id" in attributes:
            assert attributes["id"] not in self.by_id, "an id is used twice"
            self.by_id[attributes["id"]] = ""
        if tag in ("td", "th", "li"):
            self.handle_data(" ")
        if tag not in self.VOID:
            self._open.append((tag, attributes.get("id")))

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        if not {"script", "style"} & {tag for tag, _ in self._open}:
            self.text += data
            for _, name in self._open:
                if name:
                    self.by_id[name] += data

    def words(self, name=None):
        return " ".join((self.text if name is None else self.by_id[name]).split())
