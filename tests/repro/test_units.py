"""Exactly the units that must be computed are computed."""

import dataclasses
import shutil

import numpy as np
import pytest

from dlmath import repro


@pytest.fixture
def run(toy):
    def again(**options):
        paper = repro.load(toy)
        config = dataclasses.replace(paper.experiment.scales["smoke"], **options.pop("config", {}))
        return repro.run(paper, config=config, results=toy.parent.parent / "results", **options)

    assert again().computed == 3  # two widths and the deterministic study
    return again


def test_a_second_run_computes_nothing(run):
    found = run()
    assert (found.computed, found.reused, found.stale) == (0, 3, 0)


def test_one_more_width_costs_one_unit(run):
    found = run(config={"widths": (4, 16, 64)})
    assert (found.computed, found.reused) == (1, 3)


def test_a_width_between_two_others_lands_between_them(run):
    found = run(config={"widths": (16, 8, 4)})
    assert found.computed == 1
    assert found.results["means"]["width"].values.tolist() == [4, 8, 16]


def test_twenty_more_seeds_cost_one_unit_a_point(run):
    found = run(config={"num_seeds": 40})
    assert (found.computed, found.reused) == (2, 3)


def test_the_first_seeds_keep_their_numbers_when_seeds_are_added(run):
    few, many = run(), run(config={"num_seeds": 40})
    np.testing.assert_array_equal(few.results["means/mean"], many.results["means/mean"].isel(seed=slice(20)))


def test_fewer_seeds_than_a_block_are_cut_from_the_block(run):
    whole, part = run(), run(config={"num_seeds": 7})
    assert part.computed == 0
    np.testing.assert_array_equal(part.results["means/mean"], whole.results["means/mean"].isel(seed=slice(7)))


def test_seeds_can_be_asked_for_by_range(run):
    found = run(seeds=range(20, 40))
    assert (found.computed, found.results["means"]["seed"].values.tolist()) == (2, list(range(20, 40)))


def test_a_measure_that_asks_for_them_receives_the_numbers_of_its_seeds(run, edit):
    edit("def measure(config, keys, *, width):", "def measure(config, keys, *, width, seeds):")
    edit('{"mean": helper(x),', '{"number": np.array(seeds), "mean": helper(x),')
    found = run(config={"num_seeds": 40}).results["means"]
    assert found["number"].sel(width=16).values.tolist() == found["seed"].values.tolist() == list(range(40))


def test_points_share_random_numbers(run, edit):
    edit("jax.random.normal(key, (width,))", "jax.random.normal(key, (64,))[:width]")
    edit('"mean": helper(x)', '"mean": x[:, 0]')
    means = run().results["means/mean"]
    np.testing.assert_array_equal(means.sel(width=4), means.sel(width=16))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("expect=Equal(0.0, atol=0.5)", "expect=Equal(0.1, atol=0.7)"),
        ('"""One unit."""', '"""Another docstring."""'),
        ('"""Means of Gaussians', '"""More means of Gaussians'),
        ('"""Number of seeds."""', '"""How many seeds."""'),
        ("def measure(", "# a comment\n\n\ndef measure("),
        ("figure = Figure()", "figure = Figure(figsize=(2, 1))"),
        ("return config.spread**2 / np.asarray(width)", "return 0.0 * width"),
        ("spread: float = 1.0", "spread: float = 2.0"),  # a default; the configs that run are unchanged below
        ('"laptop": Config(widths=(4, 16, 64))', '"laptop": Config(widths=(4,))'),
        ("def helper(x):", "def unused(x):\n    return x\n\n\ndef helper(x):"),
        ("def measure(config, keys, *, width):", "def measure(config: Config, keys: object, *, width: int) -> dict:"),
    ],
)
def test_an_edit_that_changes_no_number_computes_nothing(run, edit, old, new):
    edit(old, new)
    found = run(config={"spread": 1.0})
    assert (found.computed, found.reused, found.stale) == (0, 3, 0)


@pytest.mark.parametrize(
    ("old", "new", "computed"),
    [
        ("jax.random.normal(key", "2 * jax.random.normal(key", 2),
        ("return x.mean(axis=1)", "return x.sum(axis=1)", 2),  # reached from measure
        ('"answer": 42.0', '"answer": 43.0', 1),
        ('precision="float64"', 'precision="float32"', 3),
    ],
)
def test_an_edit_of_measure_computes_the_units_of_its_study(run, edit, old, new, computed):
    edit(old, new)
    assert run().computed == computed


def test_a_changed_setting_changes_every_unit(run):
    assert run(config={"spread": 2.0}).computed == 3


def test_fresh_computes_everything(run):
    assert run(fresh=True).computed == 3


def test_a_unit_of_another_version_is_stale_reused_and_refreshed_on_demand(run, monkeypatch):
    from dlmath.repro import _identity

    monkeypatch.setattr(_identity, "_package_versions", lambda: {"jax": "0.0.1"})
    found = run()
    assert (found.computed, found.reused, found.stale) == (0, 3, 3)
    found = run(refresh_stale=True)
    assert (found.computed, found.reused, found.stale) == (3, 0, 0)
    assert run(refresh_stale=True).computed == 0


def test_a_raised_results_version_computes_the_units_that_use_the_subpackage(toy, run, edit, monkeypatch):
    from dlmath.repro import _identity

    edit("import numpy as np\n", "import numpy as np\n\nimport dlmath as dm\n")
    edit("return x.mean(axis=1)", "return dm.typing.Estimate(x.mean(axis=1), 0).value")
    assert run().computed == 2
    monkeypatch.setattr(_identity, "results_versions", lambda names: dict.fromkeys(names, 2))
    assert run().computed == 2


def test_a_damaged_unit_is_set_aside_and_computed_again(toy, run):
    before = run()
    unit = sorted((toy.parent.parent / "results" / "toy" / "units").glob("*.npz"))[0]
    content = bytearray(unit.read_bytes())
    content[len(content) // 2] ^= 1
    unit.write_bytes(content)
    found = run()
    assert (found.computed, found.reused) == (1, 2)
    assert unit.with_suffix(".damaged").is_file()
    np.testing.assert_array_equal(found.results["means/mean"], before.results["means/mean"])


def test_scales_share_the_store(toy, run):
    found = repro.run(repro.load(toy), scale="laptop", results=toy.parent.parent / "results")
    assert (found.computed, found.reused) == (1, 3)


def test_a_part_of_the_grid_leaves_its_claims_incomplete(toy):
    found = repro.run(repro.load(toy), point={"width": 4}, results=toy.parent / "part")
    assert found.computed == 2  # the deterministic study has no such axis
    assert [row.verdict for row in found.claims] == ["incomplete"]


def test_measure_may_not_read_its_own_axis(toy, edit):
    edit("x = config.spread *", "x = config.widths[0] *")
    found = repro.run(repro.load(toy), results=toy.parent / "r")
    assert found.failed == 2
    assert "must not read config.widths" in next(iter(found.errors.values()))


def test_a_unit_that_raises_is_reported_and_the_others_go_on(toy, edit):
    edit('"""One unit."""', 'if width == 4:\n        raise RuntimeError("no luck")')
    found = repro.run(repro.load(toy), results=toy.parent / "r")
    assert (found.failed, found.computed) == (1, 2)
    assert any("no luck" in trace for trace in found.errors.values())
    assert found.claims[0].verdict == "incomplete"
    assert found.broken


def test_results_carry_the_status_of_every_seed(toy, edit):
    edit('return {"mean": helper(x), ', 'x = x.at[3].set(np.nan)\n    return {"mean": helper(x), ')
    found = repro.run(repro.load(toy), results=toy.parent / "r")
    status = found.results["means/status"].sel(width=4).to_numpy()
    assert status.tolist() == [1, 1, 1, 2] + [1] * 16


def test_the_written_record_reads_back(toy, run):
    found = run()
    stored = repro.latest_run(toy.parent.parent / "results", "toy", "smoke")
    assert stored.folder == found.folder
    assert stored.record["units"]["reused"] == 3
    assert stored.claims == found.claims
    assert list(stored.figures) == ["means"]
    assert stored.results()["means/mean"].identical(found.results["means/mean"])
    assert (found.folder / "figures" / "means.svg").is_file()


def test_text_reads_back(toy, edit):
    import xarray as xr

    edit("widths: tuple[int, ...] = (4, 16)", 'widths: tuple[str, ...] = ("wide", "narrow")')
    edit("(key, (width,))", "(key, (len(width),))")
    edit(
        'return {"answer": 42.0}', 'return {"layer": ("layer", np.array(["a", "bb"])), "answer": ("layer", [1.0, 2.0])}'
    )
    edit("widths=(4, 16, 64)", "")
    edit("width=16", 'width="wide"')
    found = repro.run(repro.load(toy), results=toy.parent / "r")
    assert not found.errors
    with xr.open_datatree(found.folder / "results.zarr", engine="zarr", consolidated=False) as stored:
        assert stored["means/width"].to_numpy().tolist() == ["wide", "narrow"]
        assert float(stored["constant/answer"].sel(layer="bb")) == 2.0


def test_an_altered_record_is_not_read(toy, run):
    from dlmath import files

    claims = run().folder / "claims.json"
    claims.write_text(claims.read_text().replace("reproduced", "not reproduced"))
    with pytest.raises(files.DamagedFileError, match=r"claims\.json does not match its manifest"):
        repro.latest_run(toy.parent.parent / "results", "toy", "smoke")


def test_results_are_relocatable(toy, run):
    root = toy.parent.parent
    shutil.move(root / "results", root / "moved")
    found = repro.run(repro.load(toy), results=root / "moved")
    assert found.computed == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("jax.random.normal(key", "2 * jax.random.normal(key", ["the code of study 'means' has changed"]),
        ("expect=Equal(0.0, atol=0.5)", "expect=Equal(0.1, atol=0.5)", ["the claims have changed"]),
        ("figure = Figure()", "figure = Figure(figsize=(2, 1))", []),
    ],
)
def test_a_stored_run_says_what_has_changed_since(toy, run, edit, old, new, said):
    stored = repro.read_run(run().folder)
    edit(old, new)
    assert stored.changes_since(repro.load(toy)) == said


def test_a_stored_run_says_which_package_has_changed_since(toy, run, monkeypatch):
    from dlmath.repro import _identity

    stored = repro.read_run(run().folder)
    before = stored.record["provenance"]["means"]["packages"]["jax"]
    monkeypatch.setattr(_identity, "_package_versions", lambda: {"jax": "0.0.1"})
    assert stored.changes_since(repro.load(toy)) == [f"jax {before}, now 0.0.1"]


def test_a_run_of_stale_units_says_so_and_what_runs_the_same_code_is_no_other_experiment(toy, run, monkeypatch):
    from dlmath.repro import _identity

    monkeypatch.setattr(_identity, "_package_versions", lambda: {"jax": "0.0.1"})
    stored = repro.read_run(run().folder)
    assert stored.changes_since(repro.load(toy)) == ["3 units were reused from other versions"]
    assert stored.changes_since(repro.load(toy), provenance=False) == []


def test_what_travels_to_a_worker_checks_the_hash_of_its_unit(toy):
    import pickle

    from dlmath.repro._compute import Computation

    paper = repro.load(toy)
    config = paper.experiment.scales["smoke"]
    repro.load(toy)  # the same file executed again: its classes are other classes of the same names
    arrived = pickle.loads(pickle.dumps(Computation(paper, config)))
    unit = repro.plan(paper, config, platform="cpu").units[0]
    outcome = arrived(unit)
    assert not outcome.error
    np.testing.assert_array_equal(outcome.variables["mean"][1], Computation(paper, config)(unit).variables["mean"][1])
    assert "this worker" in arrived(unit._replace(id="0" * 24)).error
