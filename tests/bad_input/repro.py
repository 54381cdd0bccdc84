"""Malformed claims, studies, experiments, configs and units."""

import dataclasses
from dataclasses import dataclass

from dlmath import check, files, workspace
from dlmath.repro import AtLeast, Claim, Curve, Equal, Experiment, Slope, Study, plan
from dlmath.repro._paper import Paper
from dlmath.repro._results import Assembler, normalise


@dataclass(frozen=True)
class Config:
    widths: tuple = (1, 2)
    num_seeds: int = 2


def measure(config, keys, *, width):
    return {"x": keys}


def claim(**options):
    return Claim(
        **{"name": "a", "statement": "b", "source": "Fig. 1", "expect": Equal(1.0), "statistic": len, **options}
    )


def study(**options):
    return Study(**{"measure": measure, "over": {"width": "widths"}, **options})


def experiment(config=Config, **options):
    options = {"scales": {"smoke": config()}, "studies": {"s": study()}, "claims": (), **options}
    return Experiment(config, options.pop("scales"), **options)


def with_field(name):
    return dataclasses.make_dataclass(
        "Other", [(name, int, 1), ("widths", tuple, (1,)), ("num_seeds", int, 1)], frozen=True
    )


def planned(**options):
    paper = Paper("toy", None, "def measure(): pass", experiment())
    config = {k: v for k, v in options.items() if k in ("widths", "num_seeds")}
    rest = {k: v for k, v in options.items() if k not in config}
    return plan(paper, Config(**config), platform="cpu", **rest)


def planned_anonymously():
    paper = Paper(
        "toy", None, "def other(): pass", experiment(studies={"s": study(measure=lambda config, keys, width: 0)})
    )
    return plan(paper, Config(), platform="cpu")


def assembled(*units):
    assembler = Assembler({"width": [1, 2]}, None)
    for width, variables in units:
        assembler.add({"width": width}, range(0), normalise(variables, None), 1)


CASES = [
    ("claim without a name", lambda: claim(name=""), ValueError, "name of a claim must be a non-empty string"),
    (
        "claim with a number for an expectation",
        lambda: claim(expect=1.0),
        TypeError,
        "expect of claim 'a' must be Equal",
    ),
    (
        "claim with a value for a statistic",
        lambda: claim(statistic=3),
        TypeError,
        "statistic of claim 'a' must be a fun",
    ),
    ("claim with an unknown basis", lambda: claim(basis="formulae"), ValueError, "basis .* did you mean 'formula'"),
    ("negative tolerance", lambda: Equal(1.0, rtol=-0.1), ValueError, "rtol must be non-negative, got -0.1"),
    ("text as an expected value", lambda: AtLeast("much"), TypeError, "value must be a real number, got 'much'"),
    ("slope without tolerance", lambda: Slope(1.0, along="n", atol=0.0), ValueError, "atol must be positive, got 0"),
    ("curve without a theory", lambda: Curve(2.0), TypeError, "theory must be a function, got 2.0"),
    ("study without a function", lambda: Study("measure"), TypeError, "measure must be a function, got 'measure'"),
    (
        "study over no argument",
        lambda: study(over={"widht": "widths"}),
        ValueError,
        "over names the axis 'widht'.*did you mean 'width'",
    ),
    ("study over a list", lambda: study(over=["width"]), TypeError, "over must map axis names to config fields"),
    ("study over seeds", lambda: study(over={"seed": "num_seeds"}), ValueError, "over must not contain 'seed'"),
    ("no seeds in a unit", lambda: study(seeds_per_unit=0), ValueError, "seeds_per_unit must be positive, got 0"),
    (
        "a field named scale",
        lambda: experiment(with_field("scale")),
        ValueError,
        "config field 'scale' is an option of the runner",
    ),
    (
        "a field named seeds",
        lambda: experiment(with_field("seeds")),
        ValueError,
        "config field 'seeds' is an option of the runner",
    ),
    (
        "a field named workers",
        lambda: experiment(with_field("workers")),
        ValueError,
        "config field 'workers' is an option",
    ),
    ("no smoke scale", lambda: experiment(scales={"laptop": Config()}), ValueError, "scales must contain 'smoke'"),
    (
        "unknown scale",
        lambda: experiment(scales={"smoke": Config(), "labtop": Config()}),
        ValueError,
        "did you mean 'laptop'",
    ),
    (
        "a mapping for a config",
        lambda: experiment(scales={"smoke": {}}),
        TypeError,
        r"scales\['smoke'\] must be a Config, got dict",
    ),
    ("no studies", lambda: experiment(studies={}), ValueError, "studies must not be empty"),
    (
        "axis of a field that is not there",
        lambda: experiment(studies={"s": study(over={"width": "widht"})}),
        ValueError,
        "config field 'widht', which Config lacks; did you mean 'widths'",
    ),
    (
        "two claims of one name",
        lambda: experiment(claims=(claim(), claim())),
        ValueError,
        "claim name 'a' is used twice",
    ),
    (
        "half precision",
        lambda: experiment(precision="float46"),
        ValueError,
        "precision must be one of .*did you mean 'float64'",
    ),
    ("empty axis", lambda: planned(widths=()), ValueError, "widths must not be empty: it is an axis"),
    ("a number for an axis", lambda: planned(widths=3), TypeError, "widths must be a sequence of points"),
    ("a point twice", lambda: planned(widths=(1, 2, 1)), ValueError, "widths must not repeat a point, got 1 twice"),
    (
        "NaN on an axis",
        lambda: planned(widths=(1.0, float("nan"))),
        ValueError,
        "widths must hold finite points, got nan",
    ),
    ("a tuple on an axis", lambda: planned(widths=((1, 2),)), TypeError, "widths must hold numbers or strings"),
    ("no seeds", lambda: planned(num_seeds=0), ValueError, "num_seeds must be positive, got 0"),
    (
        "a point on no axis",
        lambda: planned(point={"depth": 3}),
        ValueError,
        r"point names \['depth'\], which is no axis; axes are width",
    ),
    ("measure without a name", planned_anonymously, ValueError, "measure must be a function defined at the top level"),
    ("measure returns an array", lambda: normalise([1.0], 1), TypeError, "measure must return a mapping"),
    (
        "measure forgets a dimension",
        lambda: normalise({"x": [[1.0, 2.0]]}, 1),
        ValueError,
        "returned 'x' of shape .1, 2. for the dimensions .'seed',.",
    ),
    (
        "measure loses a seed",
        lambda: normalise({"x": [1.0, 2.0]}, 3),
        ValueError,
        "'x' with 2 entries along 'seed', expected 3",
    ),
    ("measure returns objects", lambda: normalise({"x": [None]}, 1), TypeError, "'x' of dtype object"),
    (
        "units of unequal lengths",
        lambda: assembled((1, {"x": ("t", [1.0])}), (2, {"x": ("t", [1.0, 2.0])})),
        ValueError,
        "variable 'x' has dims .* units must agree",
    ),
    (
        "coordinates that differ",
        lambda: assembled((1, {"t": ("t", [1.0])}), (2, {"t": ("t", [2.0])})),
        ValueError,
        "coordinate 't' differs between units",
    ),
    (
        "a key that is no experiment",
        lambda: workspace.find("hastie2022suprises", workspace.experiments_folder(workspace.root())),
        ValueError,
        "did you mean 'hastie2022surprises'",
    ),
    (
        "an array of objects in a file",
        lambda: files.write_arrays("/nonexistent/x.npz", {"a": [object()]}),
        TypeError,
        "array 'a' must hold numbers",
    ),
    (
        "a legacy key",
        lambda: check.key("key", 0),
        TypeError,
        r"key must be a typed key such as jax.random.key\(0\), got 0 of type int",
    ),
]
