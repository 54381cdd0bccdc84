"""The files made of a review."""

import contextlib
import html.parser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dlmath import repro, review
from dlmath.cli import main

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def built(finished, tmp_path_factory):
    out = tmp_path_factory.mktemp("built")
    found = review.build(finished, "gauss1809theoria", out=out)
    assert [path.name for path in found] == [
        "proposal.html",
        "proposal.pdf",
        "review.html",
        "review.pdf",
        "slides.html",
    ]
    return out


class _Loads(html.parser.HTMLParser):
    """Collects what a page loads: addresses in tags other than links to follow."""

    def __init__(self):
        super().__init__()
        self.found, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag != "a":
            self.found += [v for n, v in attrs if n in ("src", "href", "data-src", "srcset", "data") and v]


def _parsed(path):
    page = _Loads()
    page.feed(path.read_text(encoding="utf-8"))
    return page


@pytest.mark.parametrize("name", ["proposal.html", "review.html", "slides.html"])
def test_pages_load_nothing_from_outside(built, name):
    page = _parsed(built / name)
    assert [address[:60] for address in page.found if not address.startswith("data:")] == []
    assert "@import" not in (built / name).read_text(encoding="utf-8")


def test_the_review_holds_formulas_as_mathml_its_figure_numbers_and_references(built, finished):
    page = _parsed(built / "review.html")
    text = (built / "review.html").read_text(encoding="utf-8")
    rate = repro.latest_run(finished / "results", "gauss1809theoria", "smoke").claim("rate")
    assert "math" in page.tags
    assert "img" in page.tags
    assert rate.ours.replace("-", "−") in text.replace("\u00a0", " ")
    assert "(smoke scale)" in text
    assert '<div id="refs"' in text
    assert 'data-label="verdict"' in text
    assert "measured at smoke scale on" in text
    assert 'name="viewport"' in text


def test_the_pdf_shows_the_numbers_of_the_run(built, finished):
    assert (built / "review.pdf").read_bytes().startswith(b"%PDF-")
    if not shutil.which("pdftotext"):
        pytest.skip("pdftotext is not installed")
    done = subprocess.run(["pdftotext", str(built / "review.pdf"), "-"], capture_output=True, text=True, check=True)
    rate = repro.latest_run(finished / "results", "gauss1809theoria", "smoke").claim("rate")
    text = " ".join(done.stdout.split())
    assert f"{rate.value[0]:.3f}".replace("-", "−") in text
    for heading in review.SECTIONS:
        assert heading in text


def test_the_same_documents_give_the_same_bytes(built, finished, tmp_path):
    for path in review.build(finished, "gauss1809theoria", documents=["proposal", "review"], out=tmp_path):
        assert path.read_bytes() == (built / path.name).read_bytes(), path.name


def _chromium(folder, *arguments):
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --enable-logging=stderr --v=0 --virtual-time-budget=3000"
    flags += " --host-resolver-rules=MAP\t*\t~NOTFOUND"
    command = [
        CHROMIUM,
        *(flag.replace("\t", " ") for flag in flags.split(" ")),
        f"--user-data-dir={folder / 'profile'}",
    ]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120, check=True)


@needs_chromium
def test_slides_open_without_a_network_each_with_its_notes_and_nothing_too_long(built, tmp_path):
    page = (built / "slides.html").read_text(encoding="utf-8")
    count = """<script>window.addEventListener("load", () => setTimeout(() => {
      const high = [], slides = Reveal.getSlides();
      slides.forEach((slide, i) => { Reveal.slide(i); if (slide.scrollHeight > 724) high.push(i); });
      const notes = slides.filter(slide => Reveal.getSlideNotes(slide)).length;
      document.title = ["slides", slides.length, "notes", notes, "high", high.join("/"), "speaker", Reveal.hasPlugin("notes")].join(" ");
    }, 300))</script></body>"""
    copy = tmp_path / "slides.html"
    before, _, after = page.rpartition("</body>")
    copy.write_text(before + count + after, encoding="utf-8")
    done = _chromium(tmp_path, "--dump-dom", copy.as_uri())
    title = re.findall(r"<title>(.*?)</title>", done.stdout, re.DOTALL)[0]
    # A title, fifteen slides with notes, the runs, the references.
    assert title == "slides 18 notes 15 high  speaker true"
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line or "ERR_" in line] == []


@needs_chromium
def test_the_review_fits_a_phone(built, tmp_path):
    # A window of headless Chromium is at least 500 pixels wide, a frame is not.
    (tmp_path / "review.html").write_bytes((built / "review.html").read_bytes())
    frame = '<iframe id="f" src="review.html" width="390" height="800"></iframe><script>window.onload = () => {'
    frame += 'document.title = document.getElementById("f").contentDocument.documentElement.scrollWidth }</script>'
    (tmp_path / "phone.html").write_text(frame)
    done = _chromium(tmp_path, "--allow-file-access-from-files", "--dump-dom", (tmp_path / "phone.html").as_uri())
    assert int(re.findall(r"<title>(\d+)</title>", done.stdout)[0]) <= 390


def test_a_stale_number_is_marked_in_what_is_built(paper):
    paper.edit("experiment", "jnp.mean(samples, axis=1) ** 2", "jnp.mean(samples, axis=1) ** 2 + 0")
    review.build(paper.root, paper.key, documents=["review"])
    folder = paper.root / "paper_reviews" / paper.key / "build"
    page = (folder / "review.html").read_text(encoding="utf-8")
    assert "<strong>Stale: the code of study &#39;means&#39; has changed.</strong>" in page
    assert (folder / ".gitignore").read_text() == "*\n"


def test_nothing_is_written_if_a_number_has_no_result_behind_it(paper, monkeypatch, capsys):
    paper.edit("review", 'claim("rate").ours', 'claim("raet").ours')
    monkeypatch.chdir(paper.root)
    assert main(["review", "build", paper.key]) == 1
    assert "no claim 'raet'; did you mean 'rate'" in capsys.readouterr().out
    assert not (paper.root / "paper_reviews" / paper.key / "build").exists()


def test_the_command_prints_what_it_wrote_and_what_is_left_to_do(paper, monkeypatch, capsys):
    monkeypatch.chdir(paper.root)
    paper.edit("proposal", "## Data\n", "## Data\n\nTODO\n")
    assert main(["review", "build", paper.key, "--only", "proposal", "--out", "made"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "made/proposal.html",
        "made/proposal.pdf",
        "gauss1809theoria: built, with 1 problem; dlmath review check gauss1809theoria lists them",
    ]


def test_an_image_of_ones_own_is_shown(paper):
    (figure,) = (paper.root / "results").rglob("variance.svg")
    shutil.copy(figure, paper.path("proposal").parent / "sketch.svg")
    paper.edit("proposal", "## Data\n", "## Data\n\n![A sketch](sketch.svg)\n")
    assert review.check(paper.root, paper.key, documents=["proposal"]) == []


def test_without_the_extra_the_error_names_it(paper, monkeypatch):
    with monkeypatch.context() as patch, contextlib.suppress(KeyError):
        patch.setitem(sys.modules, "pypandoc", None)
        review._build._pandoc._parsed.cache_clear()
        with pytest.raises(ValueError, match=r"pip install 'dlmath\[review\]'"):
            review.build(paper.root, paper.key)


def test_the_vendored_slides_keep_their_licence():
    folder = Path(review.__file__).parent / "reveal"
    assert "MIT" in (folder / "README.md").read_text()
    assert "Hakim El Hattab" in (folder / "LICENSE").read_text()
