"""What placeholders become, wherever they stand."""

import pytest

from dlmath import repro, review


@pytest.fixture
def write(paper):
    """Replaces the proposal by a text and returns what is rendered, without the header."""

    def render(text, **options):
        paper.path("proposal").write_text("---\ntitle: T\n---\n\n" + text, encoding="utf-8")
        return review.render(paper.root, paper.key, "proposal", **options).partition("---\n\n")[2].strip()

    return render


@pytest.fixture
def rate(paper):
    return repro.latest_run(paper.root / "results", paper.key, "smoke").claim("rate")


def test_numbers_are_those_of_the_stored_run(write, rate):
    text = write('{{ claim("rate").value }} {{ claim("rate").verdict }} {{ claim("rate").scale }} {{ run.scale }}')
    assert text == f"{rate.value[0]:.6g}".replace("-", "−") + " reproduced smoke smoke"
    assert write("{{ claim('rate').low | round(1) }}") == "−1"


def test_settings_are_those_of_the_run(write):
    assert write('{{ setting("num_seeds") }} at {{ setting("sample_sizes") }}') == "1000 at 4, 16, 64, 256"


def test_text_is_shown_as_it_is_in_every_context(paper, write):
    paper.edit("experiment", "the variance of the mean falls as 1/n", "a*b*c_d_ $x$ <i>|e| [f] `g` 5 %")
    repro.run(repro.load(paper.path("experiment")), results=paper.root / "results")
    shown = '{{ claim("rate").statement }}'
    write(f"Text {shown}, `code {shown}`, $x = {shown}$, **{shown}**")
    review.build(paper.root, paper.key, documents=["proposal"], out=paper.root)
    page = (paper.root / "proposal.html").read_text(encoding="utf-8")
    escaped = "a*b*c_d_ $x$ &lt;i&gt;|e| [f] `g` 5 %"
    assert f"Text {escaped}," in page
    assert f"<code>code {escaped}</code>" in page
    assert f"<strong>{escaped}</strong>" in page
    assert page.count("<i>") == 0
    assert "<mtext" in page


def test_a_number_stands_in_a_formula(write, rate):
    text = write('$\\alpha = {{ claim("rate").value }}$')
    assert text == f"$\\alpha = {rate.value[0]:.6g}$"


def test_each_number_comes_from_the_largest_scale_unless_one_is_named(paper, write, rate):
    paper.edit("experiment", "num_seeds=20_000", "num_seeds=2000")
    repro.run(repro.load(paper.path("experiment")), results=paper.root / "results", scale="laptop")
    assert write('{{ claim("rate").scale }} {{ claim("rate", scale="smoke").scale }}') == "laptop smoke"
    assert write('{{ claim("rate").scale }}', scale="smoke") == "smoke"
    paper.edit("review", "# scale: laptop   (quote", "scale: smoke # (quote")
    assert "(smoke scale)" in review.render(paper.root, paper.key, "review")


def test_the_table_of_claims_names_expected_ours_verdict_and_scale(write, rate):
    text = write('{{ claims_table("rate") }}')
    for part in (rate.statement, rate.source, "reproduced", "smoke", rate.ours.split()[0].replace("-", "−")):
        assert part in " ".join(text.split())


def test_latex_and_pandoc_braces_mean_what_they_mean_there(write):
    text = "# Heading {#id .class}\n\n$\\frac{a}{\\sqrt{b}}$ {% x %} {# y #} $x^{2^{n}}$\n"
    assert write(text).replace("\\", "") == text.strip().replace("\\", "")


def test_faults_are_told_all_at_once_with_their_lines(write):
    with pytest.raises(review.ReviewError) as found:
        write('One {{ claim("rat").ours }}\n\ntwo {{ figure("x") }}\n\n{{ setting(1) }}\n\n{{ 1 / 0 }}\n\n{{ claim }}')
    assert [problem.line for problem in found.value.problems] == [5, 7, 9, 11, 13]


@pytest.mark.parametrize("text", ["{{ run.__class__.__mro__ }}", "{{ ''.__class__ }}", "{{ claim.__globals__ }}"])
def test_placeholders_reach_nothing_but_results(write, text):
    with pytest.raises(review.ReviewError, match=r"unsafe|no attribute"):
        write(text)
