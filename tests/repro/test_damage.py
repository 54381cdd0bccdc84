"""A store with a truncated, altered or deleted file: always noticed, named and made good; nothing else is lost."""

import random
import shutil

import numpy as np
import pytest

from dlmath import files, repro


@pytest.fixture
def store(toy, edit):
    """The results folder of the toy experiment, and the function that runs it again."""
    edit("    figures=figures,\n", "")  # figures have their own test below; without them a run takes 50 ms
    paper, folder = repro.load(toy), toy.parent.parent / "results"

    def run():
        return repro.run(paper, results=folder)

    assert run().computed == 3
    return folder, run


def all_files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def check_made_good(folder, run, path, before):
    """After damage to `path`: it is named, only it is computed again, and every array is what it was."""
    is_unit = path.parent.name == "units"
    there = path.is_file()
    if not is_unit:
        with pytest.raises(files.DamagedFileError, match=r"run .* again"):
            repro.latest_run(folder, "toy", "smoke")
    found = run()
    assert (found.computed, found.reused) == ((1, 2) if is_unit else (0, 3))
    if there or not is_unit:
        assert len(found.damaged) == 1
        assert all(aside.exists() for aside in found.damaged)
        if is_unit:
            assert found.damaged[0].stem == path.stem
        assert repro.latest_run(folder, "toy", "smoke").record["damaged"] == [found.damaged[0].name]
    np.testing.assert_array_equal(found.results["means/mean"], before.results["means/mean"])
    assert run().damaged == []
    assert repro.latest_run(folder, "toy", "smoke").claims == before.claims


def test_each_file_truncated(store):
    folder, run = store
    before = run()
    for path in all_files(folder):
        if path.parent.name != "units" and before.folder not in path.parents and path.name != "latest":
            continue  # earlier runs are no longer pointed at
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        check_made_good(folder, run, path, before)
        before = run()


def test_each_file_deleted(store):
    folder, run = store
    before = run()
    names = [path.relative_to(before.folder) for path in all_files(before.folder)]
    for name in names:
        (before.folder / name).unlink()
        check_made_good(folder, run, before.folder / name, before)
        before = run()
    for path in [*all_files(folder / "toy" / "units"), folder / "toy" / "smoke" / "latest"]:
        path.unlink()
        check_made_good(folder, run, path, before)


def test_sixty_single_bits(store):
    folder, run = store
    rng, before = random.Random(0), run()
    for _ in range(60):
        current = repro.latest_run(folder, "toy", "smoke").folder
        path = rng.choice([*all_files(folder / "toy" / "units"), *all_files(current), current.parent / "latest"])
        if path.suffix.startswith(".damaged"):
            path = current / "run.json"
        content = bytearray(path.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        check_made_good(folder, run, path, before)


def test_an_emptied_file_and_an_added_one(store):
    folder, run = store
    before = run()
    unit = all_files(folder / "toy" / "units")[0]
    unit.write_bytes(b"")
    check_made_good(folder, run, unit, before)
    (run().folder / "results.zarr" / "stray").write_text("x")
    with pytest.raises(files.DamagedFileError, match=r"stray is not in the run's manifest"):
        repro.latest_run(folder, "toy", "smoke")


def test_a_unit_damaged_twice_keeps_both_damaged_files(store):
    folder, run = store
    unit = all_files(folder / "toy" / "units")[0]
    for _ in range(2):
        unit.write_bytes(b"broken")
        assert run().computed == 1
    assert len(list(unit.parent.glob("*.damaged*"))) == 2


def test_the_manifest_vouches_for_itself(store):
    folder, run = store
    manifest = run().folder / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    with pytest.raises(files.DamagedFileError, match=r"manifest\.json was altered"):
        repro.latest_run(folder, "toy", "smoke")


def test_figures_are_under_the_manifest(toy):
    folder = toy.parent.parent / "results"
    figure = repro.run(repro.load(toy), results=folder).folder / "figures" / "means.svg"
    figure.write_text(figure.read_text().replace("svg", "SVG", 1))
    with pytest.raises(files.DamagedFileError, match=r"means\.svg does not match its manifest"):
        repro.latest_run(folder, "toy", "smoke")


def test_a_half_written_record_of_a_dead_process_is_swept(store):
    folder, run = store
    left = folder / "toy" / "smoke" / ".20200101T000000-00000000.part"
    shutil.copytree(run().folder, left)
    part = folder / "toy" / "units" / f".{'0' * 24}.npz.0123456789abcdef.part"
    part.write_bytes(b"half")
    run()
    assert not left.exists()
    assert not part.exists()


def test_a_record_being_written_by_another_process_is_not_swept(store):
    folder, run = store
    left = folder / "toy" / "smoke" / ".20200101T000000-00000000.part"
    shutil.copytree(run().folder, left)
    release = files.try_lock(left.with_suffix(".lock"))
    run()
    assert left.exists()
    release()


def test_a_failed_unit_leaves_its_traceback_until_it_succeeds(toy, edit):
    folder = toy.parent.parent / "results"
    edit('"""One unit."""', 'if width == 4:\n        raise RuntimeError("no luck")')
    repro.run(repro.load(toy), results=folder)
    (failure,) = (folder / "toy" / "failures").iterdir()
    assert "no luck" in failure.read_text()
    assert "means width=4 seeds 0:20" in failure.read_text()
    edit('raise RuntimeError("no luck")', "pass")
    repro.run(repro.load(toy), results=folder)
    record = repro.latest_run(folder, "toy", "smoke").record
    assert record["errors"] == {}


def test_non_finite_units_are_named_in_the_record(toy, edit):
    edit('return {"mean": helper(x), ', 'x = x.at[3].set(np.nan)\n    return {"mean": helper(x), ')
    found = repro.run(repro.load(toy), results=toy.parent / "r")
    assert found.non_finite["means width=4 seeds 0:20"] == "mean, square not finite for 1 of 20 seeds"
    assert repro.read_run(found.folder).record["non_finite"] == found.non_finite


def test_a_part_of_the_grid_does_not_take_the_place_of_the_whole(toy):
    folder = toy.parent.parent / "results"
    whole = repro.run(repro.load(toy), results=folder)
    part = repro.run(repro.load(toy), results=folder, point={"width": 4})
    assert (whole.scale, part.scale) == ("smoke", "custom")
    assert repro.latest_run(folder, "toy", "smoke").folder == whole.folder
