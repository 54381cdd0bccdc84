"""Every rule of the check, by a document that breaks it and nothing else."""

import json
import re
import shutil
from pathlib import Path

import pytest

from dlmath import review, workspace
from dlmath.cli import main

# document, text, its replacement, rule, message
BROKEN = {
    "missing section": ("review", "## 7. Strengths", "### Strengths", "section", "section '## 7. Strengths' is missing"),
    "misspelt section": ("review", "## 7. Strengths", "## 7. Strenghts", "section", "did you mean '7. Strengths'"),
    "unknown section": ("review", "## 8. Weak", "## Acknowledgements\n\nWe.\n\n## 8. Weak", "section", "unknown section"),
    "first section missing": ("review", "## 1. Citation and claim", "", "section", "'## 1. Citation and claim' is miss"),
    "section twice": ("review", "## 8. Weak", "## 7. Strengths\n\nAgain.\n\n## 8. Weak", "section", "stands on line"),
    "heading of level 1": ("review", "## 8. Weak", "# Part two\n\n## 8. Weak", "section", "is of level 1"),
    "section of the proposal": ("proposal", "## Evaluation", "## Metric", "section", "'Metric'"),
    "no table": ("review", "|---|---|---|", "| a | b | c |", "notation", "no notation table"),
    "too long a proposal": ("proposal", "## Data\n", "## Data\n\n" + "word " * 300, "length", r"expected at most 450; by section Abstract: \d+, Data: 3\d\d"),
    "unknown citation": ("review", "## 7. Strengths\n", "## 7. Strengths\n\nSee [@gaus1809theoria].\n", "citation", "did you mean 'gauss1809theoria'"),
    "paper not cited": ("proposal", "The paper is [@gauss1809theoria].", "The paper is his.", "citation", "the paper itself is not cited"),
    "unknown claim": ("review", 'claim("rate").ours', 'claim("raet").ours', "result", "no claim 'raet'; did you mean 'rate'"),
    "unknown attribute": ("review", 'claim("rate").ours', 'claim("rate").our', "result", r"no attribute \.our; did you mean 'ours'"),
    "unknown figure": ("review", 'figure("variance"', 'figure("varience"', "result", "did you mean 'variance'"),
    "unknown setting": ("review", 'setting("num_seeds")', 'setting("num_seed")', "result", "did you mean 'num_seeds'"),
    "unknown placeholder": ("review", "{{ run.seconds }}", "{{ rum.seconds }}", "result", "no placeholder 'rum'; did you mean 'run'"),
    "unknown scale": ("review", 'claim("rate").ours', 'claim("rate", scale="smok").ours', "result", "did you mean 'smoke'"),
    "scale without a run": ("review", 'claim("rate").ours', 'claim("rate", scale="laptop").ours', "result", "no result behind it at laptop scale"),
    "placeholder without end": ("review", "{{ run.seconds }}", "{{ run.seconds", "result", "placeholder"),
    "forbidden attribute": ("review", "{{ run.seconds }}", "{{ run.__class__ }}", "result", "__class__"),
    "braces of a formula": ("review", "## 7. Strengths\n", "## 7. Strengths\n\n$W_{{ij}}$\n", "result", "no placeholder 'ij'"),
    "figure inside a sentence": ("review", "{{ run.seconds }}", '{{ figure("variance") }}', "result", "line of its own"),
    "width": ("review", 'number of samples")', 'number of samples", width="big")', "result", "width must be a length"),
    "number in the replication": ("review", "The command ", "With 200 draws the command ", "number", "'200' is typed in section '9"),
    "number in a formula": ("review", "The command ", "With $n = 200$ the command ", "number", "'200'"),
    "number in a table": ("review", "{{ claims_table() }}", "| a |\n|---|\n| 3.5 |", "number", r"'3\.5'"),
    "number on a slide": ("slides", "We ran", "We ran 77 of", "number", "'77' is typed in slide 'Replication: what was m"),
    "image without a result": ("review", "{{ claims_table() }}", "![it](picture.svg)", "figure", "has no result behind it"),
    "image that is not there": ("review", "## 7. Strengths\n", "## 7. Strengths\n\n![it](pictur.svg)\n", "figure", "there is no image pictur.svg"),
    "image from elsewhere": ("review", "## 7. Strengths\n", "## 7. Strengths\n\n![it](https://a.org/b.svg)\n", "figure", "lies elsewhere"),
    "raw HTML": ("review", "## 7. Strengths\n", "## 7. Strengths\n\n<hr>\n", "conversion", "raw html"),
    "comment of the scaffold": ("review", "## 7. Strengths\n", "## 7. Strengths\n\n<!-- FILL IN: praise. -->\n", "unfinished", "still to be written: praise"),
    "to do": ("slides", "A sentence.", "TODO: a sentence.", "unfinished", "TODO: a sentence"),
    "no date": ("review", "\ndate:", "\nwhen:", "header", "has no date"),
    "no authors": ("slides", "authors:", "author:", "header", "has no authors"),
    "date": ("review", "\ndate: ", "\ndate: the ", "header", "date must be"),
    "scale of the header": ("review", "# scale: laptop   (quote", "scale: labtop # (quote", "header", "did you mean 'laptop'"),
    "slide without notes": ("slides", "::: notes\n", "::: other\n", "length", "slide 'The question' has no speaker notes"),
    "empty slide": ("slides", "## Summary\n\nA sentence.", "## Summary\n", "section", "slide 'Summary' is empty"),
    "rule": ("slides", "## Summary", "---\n\n## Summary", "section", "a rule begins a slide"),
    "entry without a year": ("refs.bib", "year = {1809}", "note = {}", "bibliography", "entry 'gauss1809theoria' has no year"),
    "entry without a title": ("refs.bib", "title = {Theoria motus}", "title = {}", "bibliography", "has no title"),
    "entry twice": ("refs.bib", "@article", "@misc{gauss1809theoria, title={T}, author={A}, year={1801}}\n@article", "bibliography", "already on line 1"),
    "entry with a brace too few": ("refs.bib", "Theoria motus},", "Theoria motus,", "bibliography", "malformed: line . lacks"),
    "source to be written": ("experiment", 'source="Fig. 1"', 'source="FILL IN"', "unfinished", "source="),
}  # fmt: skip


# Where a fault is told if not on the last line of what was put in; "" for the first line of the file.
TOLD_AT = {
    "missing section": "## 6. Relation",
    "section of the proposal": "## Model",
    "unknown section": "## Acknowledgements",
    "section twice": "## 7. Strengths",
    "heading of level 1": "# Part two",
    "no table": "## 3. Setting",
    "too long a proposal": "",
    "paper not cited": "",
    "first section missing": "",
    "entry with a brace too few": "@article",
    "no date": "",
    "no authors": "",
    "slide without notes": "## The question",
    "empty slide": "## Summary",
    "rule": "---",
    "entry without a year": "@article",
    "entry without a title": "@article",
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_is_found_and_told_in_one_message(paper, name):
    document, old, new, rule, message = BROKEN[name]
    paper.edit(document, old, new)
    documents = (document,) if document in review.DOCUMENTS else ("proposal",)
    found = paper.check(*documents)
    assert [problem for problem in found if problem.rule == rule and re.search(message, problem.message)], found
    # A paper whose entry is malformed is an unknown citation, too.
    assert {problem.rule for problem in found} <= {rule, *(["citation"] if "brace too few" in name else [])}
    assert all(problem.remedy for problem in found)
    told = next(problem.line for problem in found if problem.rule == rule)
    lines = paper.path(document).read_text(encoding="utf-8").splitlines()
    marker = TOLD_AT.get(name, new.strip().splitlines()[-1] if new.strip() else "")
    assert marker in lines[told - 1] if marker else told == 1


def test_sections_out_of_order_are_named(paper):
    paper.edit("review", "## 7. Strengths", "## 8. Weaknesses (x)")
    paper.edit("review", "## 8. Weaknesses\n", "## 7. Strengths\n")
    paper.edit("review", "## 8. Weaknesses (x)", "## 8. Weaknesses")
    (problem,) = paper.check("review")
    assert problem.message == "section '7. Strengths' stands after '8. Weaknesses'"


def test_too_short_a_review_is_told_with_the_words_of_each_section(paper):
    text = paper.path("review").read_text(encoding="utf-8")
    paper.path("review").write_text(
        re.sub(r"(## 2\. Motivation\n\n).*?(\n## 5)", r"\1One, two.\n\n\2", text, flags=re.DOTALL)
    )
    found = [problem for problem in paper.check("review") if problem.rule == "length"]
    assert re.fullmatch(r"\d+ words of prose, expected 900 to 1200; by section 1: \d+, 2: 2, 5: .*", found[0].message)


def test_words_of_prose_are_counted_and_nothing_else(paper):
    before = _total(paper)
    # Nine words: formula, citation and code are one each. Not counted: display, table, code, note, comment, heading.
    paper.edit(
        "review",
        "## 7. Strengths\n",
        "## 7. Strengths\n\n### A heading\n\nFive words *and* a “formula” $a + b$ [@gauss1809theoria, p. 3] "
        "`some code`.^[A note.]\n\n$$x = y$$\n\n| a |\n|---|\n| b |\n\n: A caption\n\n```\ncode\n```\n\n<!-- no -->\n",
    )
    assert _total(paper) == before + 8


def _total(paper):
    """The review's words, read off the message of a review that is too short."""
    text = paper.path("review").read_text(encoding="utf-8")
    paper.path("review").write_text(text.replace("## 12. Who did what\n", "## 12. Who did what\n\n" + "word " * 2000))
    (problem,) = paper.check("review")
    paper.path("review").write_text(text)
    return int(problem.message.split()[0])


def test_a_placeholder_counts_as_the_words_it_becomes(paper):
    before = _total(paper)
    paper.edit("review", "## 7. Strengths\n", '## 7. Strengths\n\n{{ claim("rate").statement }}\n')
    assert _total(paper) == before + 8  # the variance of the mean falls as 1/n


def test_the_talk_has_as_many_slides_and_words_as_twenty_minutes_take(paper):
    text = paper.path("slides").read_text(encoding="utf-8")
    head, _, rest = text.partition("## ")
    slides = [f"## {slide}" for slide in rest.split("\n## ")]
    paper.path("slides").write_text(head + "\n".join(slides[:8]))
    found = [problem.message for problem in paper.check("slides")]
    assert found[0] == "8 slides, expected 12 to 20 for 20 minutes"
    assert "spoken words in the notes, expected 1600 to 3000" in found[1]
    assert len(found) == 2


def test_a_claim_that_cannot_be_tested_at_the_scale_has_a_verdict_but_no_number(paper):
    paper.edit("experiment", "len(config.sample_sizes) > 1", "len(config.sample_sizes) > 9")
    assert main_run(paper) == 0
    (problem,) = paper.check("review")
    assert problem.message == 'claim("rate").ours has no number'
    paper.edit("review", 'claim("rate").ours', 'claim("rate").verdict')
    assert paper.check("review") == []


def main_run(paper):
    from dlmath import repro

    found = repro.run(repro.load(paper.path("experiment")), results=paper.root / "results")
    return int(found.broken)


def test_editing_the_measurement_makes_every_number_stale_and_a_run_makes_it_fresh(paper):
    paper.edit("experiment", "jnp.mean(samples, axis=1) ** 2", "jnp.mean(samples, axis=1) ** 2 + 0")
    found = paper.check()
    assert {(problem.path.stem, problem.rule) for problem in found} == {("review", "stale"), ("slides", "stale")}
    assert "the code of study 'means' has changed" in found[0].message
    assert found[0].remedy == "dlmath run gauss1809theoria --scale smoke --refresh-stale"
    assert main_run(paper) == 0
    assert paper.check() == []


def test_editing_a_claim_or_a_figure_makes_what_is_quoted_stale(paper):
    paper.edit("experiment", '"k--"', '"r--"')
    found = paper.check("review")
    assert [problem.message for problem in found] == ["figure variance was drawn before figures() changed"]
    paper.edit("experiment", "atol=0.1", "atol=0.2")
    assert ["the claims have changed" in problem.message for problem in paper.check("review")] == [True]


def test_a_damaged_run_is_named(paper):
    (figure,) = (paper.root / "results").rglob("variance.svg")
    figure.write_text(figure.read_text() + " ")
    found = paper.check("review")
    assert "variance.svg does not match its manifest" in found[0].message
    assert {problem.rule for problem in found} == {"result"}


def test_an_experiment_that_fails_to_load_is_a_problem_and_not_a_crash(paper):
    paper.path("experiment").write_text("import nothing_of_this_name\n")
    found = paper.check("review")
    assert "cannot be loaded: No module named 'nothing_of_this_name'" in found[0].message


def test_a_review_without_an_experiment_says_so(paper):
    paper.path("experiment").unlink()
    assert "there is no experiment 'gauss1809theoria'" in paper.check("review")[0].message


def test_claims_recorded_in_the_index_are_results_and_figures_are_not(paper, monkeypatch):
    monkeypatch.chdir(paper.root)
    assert main(["index"]) == 0
    shutil.rmtree(paper.root / "results")
    found = paper.check("review")
    assert [problem.message for problem in found] == ["figure 'variance' has no stored result behind it"]
    index = workspace.read_index(paper.root / "experiments")
    index[paper.key]["scales"]["smoke"]["code"] = {"means": "0"}
    (paper.root / "experiments" / workspace.INDEX).write_text(json.dumps(index))
    stale = [problem for problem in paper.check("review") if problem.rule == "stale"]
    assert stale[0].remedy.endswith("&& dlmath index")


def test_a_formula_that_pandoc_cannot_convert_is_found_with_its_line(paper):
    paper.edit("proposal", "## Data\n", "## Data\n\nOf $\\strange{x}$ it is.\n")
    (problem,) = review.check(paper.root, paper.key, documents=["proposal"])
    assert (problem.rule, "formula \\strange{x} cannot be converted" in problem.message) == ("conversion", True)
    assert "strange" in paper.path("proposal").read_text().splitlines()[problem.line - 1]


def test_the_command_prints_problems_and_ends_with_1(paper, monkeypatch, capsys):
    monkeypatch.chdir(paper.root)
    assert main(["review", "check", paper.key, "--only", "proposal"]) == 0
    assert capsys.readouterr().out == "gauss1809theoria: in order\n"
    paper.edit("proposal", "## Data", "## Date")
    assert main(["review", "check", "--all", "--only", "proposal"]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"paper_reviews/gauss1809theoria/proposal.md:\d+: unknown section 'Date'; did you .*\)", first)
    assert last == "gauss1809theoria: 1 problem"


def test_new_works_where_there_is_no_workspace(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "my2026paper", "--title", "A title", "--authors", "A B", "C D"]) == 0
    said = capsys.readouterr().out
    assert f"a new workspace: {Path.cwd()}" in said
    assert "dlmath run my2026paper" in said
    assert main(["review", "check"]) == 2
    assert "there are my2026paper" in capsys.readouterr().err
