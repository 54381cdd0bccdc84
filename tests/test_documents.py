"""The documents at the root say what is true of the repository."""

import re
from pathlib import Path

import pytest

import dlmath

ROOT = Path(__file__).parents[1]


def test_the_citation_names_this_version_and_licence():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^cff-version: 1\.2\.0$", citation, re.MULTILINE)
    assert re.search(rf"^version: {re.escape(dlmath.__version__)}$", citation, re.MULTILINE)
    assert re.search(r"^license: Apache-2\.0$", citation, re.MULTILINE)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_to_files_lead_somewhere(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_readme_has_one_table_of_claims_between_its_markers():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("<!-- claims:begin -->") == text.count("<!-- claims:end -->") == 1
    assert text.index("<!-- claims:begin -->") < text.index("<!-- claims:end -->")


def test_the_readme_names_only_targets_and_commands_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8") + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`make (?:[A-Z]+=\S+ )?([a-z]+)`", text))
    assert {"install", "reproduce", "test"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    keys = set(re.findall(r"dlmath (?:run|show) ([a-z]\w+)", text))
    assert keys
    assert all((ROOT / "experiments" / f"{key}.py").is_file() for key in keys)
    packages = set(re.findall(r"`dm\.(\w+)`", text))
    assert packages <= set(dlmath.__all__)


def test_the_changelog_has_an_entry_for_what_is_to_come():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert released[0] == "Unreleased"
