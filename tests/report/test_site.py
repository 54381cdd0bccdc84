"""The site tells all that is known of a run, and nothing else."""

import base64
import json
import re

import numpy as np
import pytest

import dlmath as dm
from dlmath import report, repro
from dlmath.cli import main
from dlmath.cli._index import build

from .conftest import VERDICTS, Page


def again(workspace, **options):
    written = report.site(workspace, workspace / "out", **options)
    return written, Page(written.index.read_text()), Page(written.pages["toy"].read_text())


def test_every_claim_stands_beside_the_papers_value_ours_and_the_verdict(ran, page):
    for row in repro.latest_run(ran / "results", "toy", "smoke").claims:
        shown = page.words(f"smoke-{row.name}")
        assert row.statement in shown
        assert row.source in shown
        assert row.expected in shown
        assert row.ours in shown
        assert f" {VERDICTS[row.name]}" in shown


def test_the_basis_of_an_expected_value_is_told(page):
    assert "printed in the paper" in page.words("smoke-centred")
    assert "from the paper's formula" in page.words("smoke-variance")
    assert "computed independently" in page.words("smoke-markup")


def test_a_known_failure_gives_its_reason(page):
    assert "Known not to hold here: the samples are centred" in page.words("smoke-nine")


def test_claims_that_rest_on_a_failed_unit_are_incomplete_and_its_traceback_is_shown(page):
    assert "incomplete" in page.words("laptop-centred")
    assert "1 failed" in page.words()
    assert "RuntimeError: no such <width>" in page.words()
    assert "width=16" in page.words()


def test_units_that_are_not_finite_are_named(page):
    assert "1 unit with values that are not finite" in page.words()
    assert "width=64" in page.words()


def test_the_scoreboard_has_a_mark_for_every_claim_and_scale(site):
    words = Page(site.index.read_text()).words("toy")
    for name, verdict in VERDICTS.items():
        assert words.count(f"{name}: ") == 2
        assert f"{name}: {verdict}" in words
    assert "3 of 7" in words  # at smoke scale: one of eight claims is not testable
    assert "1 failed" in words
    assert site.summary.startswith("1 paper: 3 of 7 testable claims reproduced at smoke scale; ")


def test_text_of_a_paper_is_never_markup(site, page):
    for html in (page.html, site.index.read_text()):
        assert "<script>alert" not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;so on&#34;" in html
    assert "Means of Gaussians <i>and more</i> (Gauss 1809)." in page.words()
    assert "1/n < 2." in page.words()


def test_pages_load_nothing(site, page):
    for shown in (page, Page(site.index.read_text())):
        for tag, attributes in shown.elements:
            assert tag not in ("link", "iframe", "object", "embed", "base")
            assert attributes.get("src", "data:").startswith("data:")
            assert "srcset" not in attributes
            if "href" in attributes:
                assert tag == "a"
                assert "://" not in attributes["href"]
        assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", shown.html)
        assert "default-src 'none'" in shown.html


def test_links_inside_the_site_lead_to_ids_that_exist(site, page):
    index = Page(site.index.read_text())
    linked = [attributes["href"] for tag, attributes in index.elements if tag == "a"]
    assert {href.partition("#")[0] for href in linked} == {"papers/toy.html"}
    assert {href.partition("#")[2] for href in linked} - {""} <= set(page.by_id)
    assert [a["href"] for tag, a in page.elements if tag == "a" and "#" not in a["href"]] == ["../index.html"]


def test_no_folder_of_this_machine_is_named(ran, site, page):
    for html in (page.html, site.index.read_text()):
        assert str(ran) not in html
        assert str(ran.parent) not in html
        assert str(dm.__file__).rsplit("/dlmath", 1)[0] not in html


def test_the_command_can_be_typed_elsewhere(page):
    assert 'class="command">dlmath run toy --scale laptop</pre>' in page.html


def test_figures_are_the_stored_files(ran, page):
    figures = [a for tag, a in page.elements if tag == "img"]
    run = repro.latest_run(ran / "results", "toy", "smoke")
    kind, _, content = figures[0]["src"].partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(content) == run.figures["two_means"].read_bytes()
    assert "two means" in figures[0]["alt"]


def test_settings_environment_and_deviations_are_shown(ran, page):
    run = repro.latest_run(ran / "results", "toy", "smoke")
    words = page.words()
    assert "widths 4, 16 Numbers of samples n." in words
    assert f"jax {run.record['environment']['packages']['jax']}" in words
    assert run.record["environment"]["device"] in words
    assert "float64" in words
    assert run.folder.name in words
    assert "samples are drawn by a computer" in words


def test_a_run_is_up_to_date_until_its_code_changes(workspace, page):
    assert page.words().count("Up to date with the experiment's file") == 2
    path = workspace / "experiments" / "toy.py"
    path.write_text(path.read_text().replace(".mean(axis=1)", ".mean(axis=-1)"))
    written, index, shown = again(workspace)
    assert shown.words().count("the code of study 'means' has changed") == 2
    assert "Up to date" not in shown.words()
    assert index.words("toy").count("out of date") == 2
    assert written.problems == []


def test_a_damaged_run_is_named_and_the_rest_goes_on(workspace, monkeypatch, capsys):
    run = repro.latest_run(workspace / "results", "toy", "smoke")
    (run.folder / "claims.json").write_text(
        (run.folder / "claims.json").read_text().replace("reproduced", "Reproduced")
    )
    written, index, shown = again(workspace)
    text = f"results/toy/smoke/{run.folder.name}/claims.json does not match its manifest"
    assert text in shown.words()
    assert text in index.words()
    assert "damaged" in index.words("toy")
    assert text in written.problems[0]
    assert "laptop-centred" in shown.by_id
    monkeypatch.chdir(workspace)
    assert main(["report"]) == 1
    assert "claims.json does not match" in capsys.readouterr().out


def test_a_file_that_does_not_load_is_named_and_its_runs_are_shown(workspace):
    path = workspace / "experiments" / "toy.py"
    path.write_text(path.read_text() + "\nraise RuntimeError('half <edited>')\n")
    written, index, shown = again(workspace)
    assert written.problems == ["toy: experiments/toy.py does not load: RuntimeError: half <edited>"]
    assert "half <edited>" in shown.words()
    assert "its file does not load" in index.words("toy")
    assert "the mean is 0" in shown.words("smoke-centred")
    assert "cannot be told" in shown.words()
    path.write_text("def broken(:\n")
    _, index, shown = again(workspace)
    assert "SyntaxError" in shown.words()


def test_a_run_made_elsewhere_is_marked_as_recorded(workspace):
    folder = workspace / "experiments"
    index = build(folder, workspace / "results")
    (folder / "index.json").write_text(json.dumps(index))
    recorded = index["toy"]["scales"]
    assert recorded
    written, index, shown = again(workspace, results=workspace / "nowhere")
    assert shown.words().count("Recorded, not stored here") == len(recorded)
    for row in recorded["smoke"]["claims"]:
        assert row["ours"] in shown.words(f"smoke-{row['name']}")
    assert index.words("toy").count("recorded") == len(recorded)
    assert written.problems == []
    path = folder / "toy.py"
    path.write_text(path.read_text().replace('return {"answer": 42.0}', 'return {"answer": 43.0}'))
    _, index, shown = again(workspace, results=workspace / "nowhere")
    assert shown.words().count("the code of study 'constant' has changed") == len(recorded)
    assert index.words("toy").count("out of date") == len(recorded)


def test_a_paper_without_runs_says_how_to_run_it(workspace):
    _, index, shown = again(workspace, results=workspace / "nowhere")
    assert "Nothing has been run yet: dlmath run toy measures it." in shown.words()
    assert "not run" in index.words("toy")


def test_files_that_are_not_the_sites_are_left_alone(workspace):
    mine = workspace / "out" / "papers" / "mine.html"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    (workspace / "out" / "index.html").write_text("old")
    again(workspace)
    files = sorted(p.relative_to(workspace / "out").as_posix() for p in (workspace / "out").rglob("*") if p.is_file())
    assert files == ["index.html", "papers/mine.html", "papers/toy.html"]
    assert mine.read_text() == "mine"
    assert "Gauss" in (workspace / "out" / "index.html").read_text()


def test_the_pages_of_some_papers_are_written_and_the_scoreboard_has_all(workspace):
    (workspace / "experiments" / "other.py").write_text((workspace / "experiments" / "toy.py").read_text())
    written, index, _ = again(workspace, keys=["toy"], scales=["smoke"])
    assert set(written.pages) == {"toy"}
    assert "not run" in index.words("other")
    assert not any("other.html" in a.get("href", "") for _, a in index.elements)
    assert "Laptop scale" not in index.words()


def test_the_review_is_linked_where_it_was_built(workspace):
    folder = workspace / "paper_reviews" / "toy"
    folder.mkdir(parents=True)
    _, _, shown = again(workspace)
    assert "dlmath review build toy makes its page" in shown.words()
    (folder / "build").mkdir()
    (folder / "build" / "review.html").write_text("a review")
    written, _, shown = again(workspace)
    href = next(a["href"] for tag, a in shown.elements if tag == "a" and "review" in a["href"])
    assert (written.pages["toy"].parent / href).resolve() == (folder / "build" / "review.html").resolve()


def test_the_pages_are_accessible(site, page):
    for shown in (page, Page(site.index.read_text())):
        assert ("html", {"lang": "en"}) in shown.elements
        assert any(a.get("name") == "viewport" for _, a in shown.elements)
        headings = [int(tag[1]) for tag, _ in shown.elements if re.fullmatch("h[1-6]", tag)]
        assert headings[0] == 1
        assert headings.count(1) == 1
        assert max(np.diff(headings)) <= 1
        assert all(a.get("alt") for tag, a in shown.elements if tag == "img")
        assert all("scope" in a for tag, a in shown.elements if tag == "th")
        assert all(a.get("aria-label") for tag, a in shown.elements if tag == "svg")


def luminance(colour):
    """Relative luminance of WCAG 2, from #rrggbb."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4) @ [
        0.2126,
        0.7152,
        0.0722,
    ]


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "print"])
def test_words_have_a_contrast_of_at_least_4_5(page, scheme):
    blocks = [
        dict(re.findall(r"--(\w+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", page.html, re.DOTALL)
    ]
    colours = {n: c if len(c) == 7 else "#" + "".join(2 * x for x in c[1:]) for n, c in blocks[scheme].items()}
    for name in ("text", "quiet", "link", "held", "broken", "known", "open", "none"):
        for ground in ("page", "card"):
            light, dark = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)


def test_verdicts_differ_in_shape_and_words_not_only_in_colour():
    from dlmath.report._words import MARKS

    assert len({mark.glyph for mark in MARKS}) == len({mark.words for mark in MARKS}) == len(MARKS)


def test_the_command_prints_where_it_wrote_and_a_summary(workspace, monkeypatch, capsys):
    monkeypatch.chdir(workspace / "experiments")
    assert main(["report", "toy", "--scale", "smoke"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(workspace / "results" / "report" / "index.html")
    assert lines[1] == "1 paper: 3 of 7 testable claims reproduced at smoke scale."
    assert (workspace / "results" / "report" / "papers" / "toy.html").is_file()


def test_an_unknown_paper_gets_a_suggestion(workspace, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    assert main(["report", "toi"]) == 2
    assert "did you mean 'toy'" in capsys.readouterr().err


def test_a_run_of_another_version_is_a_row_not_a_crash(workspace):
    run = repro.latest_run(workspace / "results", "toy", "smoke")
    record = {name: value for name, value in run.record.items() if name != "units"}
    (run.folder / "run.json").write_text(json.dumps(record))
    from dlmath import files
    from dlmath.repro import _record

    listed = {name: files.sha256(run.folder / name) for name in _record._contents(run.folder)}
    (run.folder / "manifest.json").write_text(_record._manifest(listed))
    written, index, shown = again(workspace)
    assert written.problems == ["toy, smoke scale: the latest run cannot be read: KeyError: 'units'"]
    assert "cannot be read" in index.words("toy")
    assert "laptop-centred" in shown.by_id


def test_a_folder_of_results_that_is_none_is_refused(workspace, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    assert main(["report", "--results", "resluts"]) == 2
    assert "--results must be a folder of stored results, got resluts" in capsys.readouterr().err


def test_an_index_that_cannot_be_read_is_named(workspace):
    (workspace / "experiments" / "index.json").write_text("{")
    with pytest.raises(ValueError, match=r"index\.json cannot be read: .*; delete it and run dlmath index"):
        again(workspace)
