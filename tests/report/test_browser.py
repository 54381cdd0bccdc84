"""The pages in a browser: on a phone, printed, in the dark."""

import shutil
import subprocess

import pytest

from dlmath import report, repro

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="neither chromium, chromium-browser nor google-chrome is installed"
)
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip


def browse(tmp_path, *options):
    command = [BROWSER, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_phone_shows_each_page_without_scrolling_sideways(ran, site, tmp_path):
    # A frame, because a headless window is never narrower than 500 px. The frames' pages report their own width.
    measure = """<script>addEventListener("load", () => {
        const wide = [...document.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > innerWidth + 1);
        const row = getComputedStyle(document.querySelector("tbody tr"));
        parent.postMessage([innerWidth, document.documentElement.scrollWidth, wide.length, row.display].join(" "), "*");
    });</script>"""
    frames = ""
    runs = (repro.latest_run(ran / "results", "toy", scale) for scale in ("smoke", "laptop"))
    pages = {"index": site.index.read_text(), "toy": site.pages["toy"].read_text()}
    pages["compare"] = report.comparison_page(report.compare(*runs))
    for name, html in pages.items():
        html = html.replace("</body>", measure + "</body>").replace("<details>", "<details open>")
        (tmp_path / f"{name}.html").write_text(html)
        frames += f'<iframe src="{name}.html" style="width: 390px; height: 900px; border: 0"></iframe>'
    listen = (
        """<script>addEventListener("message", e => { document.body.append("found " + e.data + ";"); });</script>"""
    )
    (tmp_path / "harness.html").write_text(f"<!doctype html><body>{listen}{frames}</body>")
    shown = browse(tmp_path, "--virtual-time-budget=3000", "--dump-dom", (tmp_path / "harness.html").as_uri())
    assert shown.count("found 390 390 0 block;") == 3, shown[-500:]


def test_the_table_can_be_filtered_and_sorted(site, tmp_path):
    act = """<script>addEventListener("load", () => {
        const form = document.forms[0], rows = () => [...document.querySelectorAll("#all tbody tr:not([hidden]) th strong")];
        form.elements.verdict.value = "reproduced";
        form.elements.scale.value = "smoke scale";
        form.dispatchEvent(new Event("input"));
        document.querySelector("#all thead button").click();
        document.body.append("found " + form.hidden + " " + rows().map(row => row.textContent).join(" ") + ";");
    });</script>"""
    (tmp_path / "page.html").write_text(site.index.read_text().replace("</body>", act + "</body>"))
    shown = browse(tmp_path, "--virtual-time-budget=1000", "--dump-dom", (tmp_path / "page.html").as_uri())
    assert "found false centred markup variance;" in shown


def test_the_printed_page_holds_every_claim_setting_and_version(ran, site, tmp_path):
    browse(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'page.pdf'}", site.pages["toy"].as_uri())
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed; the PDF was made, its text not read")
    command = ["pdftotext", "-layout", tmp_path / "page.pdf", "-"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    run = repro.latest_run(ran / "results", "toy", "smoke")
    for row in run.claims:
        assert text.count(row.name) >= 2  # at both scales
        assert row.ours[:12] in text
    assert "Numbers of samples n." in text  # folded away on the screen
    assert "jax " + run.record["environment"]["packages"]["jax"] in " ".join(text.split())
    assert "All papers" not in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screenshot_shows_the_page_in_the_readers_scheme(scheme, site, tmp_path):
    import matplotlib.image

    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    target = f"--screenshot={tmp_path / 'page.png'}"
    browse(tmp_path, target, "--window-size=800,900", *dark, site.pages["toy"].as_uri())
    pixels = matplotlib.image.imread(tmp_path / "page.png")[..., :3]
    assert pixels.shape == (900, 800, 3)
    background = pixels[2, 2]
    assert (background.mean() > 0.9) == (scheme == "light")
    assert 0.02 < (abs(pixels - background).max(axis=-1) > 0.3).mean() < 0.5  # words and drawings on it
