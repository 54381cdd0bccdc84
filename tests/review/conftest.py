"""A workspace made by the scaffold, run once, its documents filled in; each test edits a copy."""

import re
import shutil
from types import SimpleNamespace

import pytest

from dlmath import repro, review

KEY = "gauss1809theoria"

# Eighty words without digits.
FILLER = " ".join(
    ["The mean of many independent samples is a better estimate than any one of them."] * 5 + ["So it is."] * 3
)


def fill(folder):
    """Writes something of the right length wherever the scaffold asks for it."""
    for path in folder.glob("*.md"):
        text = path.read_text(encoding="utf-8").replace('["FILL IN"]', "[Ada Lovelace, Emmy Noether]")
        text = text.replace("::: notes\n", f"::: notes\n\n{FILLER} {FILLER}\n\n")
        filler = {"review": FILLER, "slides": "A sentence.", "proposal": FILLER}[path.stem]
        seen = iter(["", *[filler] * 40])
        text = re.sub(r"<!--.*?-->", lambda _, seen=seen: next(seen), text, flags=re.DOTALL)
        path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    review.scaffold(root, KEY, title="Theoria motus", authors=["Carl Friedrich Gauss"])
    experiment = root / "experiments" / f"{KEY}.py"
    experiment.write_text(experiment.read_text(encoding="utf-8").replace("FILL IN: ", ""), encoding="utf-8")
    found = repro.run(repro.load(experiment), results=root / "results")
    assert [row.verdict for row in found.claims] == [repro.REPRODUCED] * 2
    fill(root / "paper_reviews" / KEY)
    return root


@pytest.fixture
def paper(finished, tmp_path):
    """A copy of the finished workspace, with functions to edit and check it."""
    root = tmp_path / "workspace"
    shutil.copytree(finished, root)
    folder = root / "paper_reviews" / KEY

    def path(name):
        if name in review.DOCUMENTS:
            return folder / f"{name}.md"
        return root / "experiments" / f"{KEY}.py" if name == "experiment" else root / "paper_reviews" / name

    def edit(name, old, new, count=1):
        text = path(name).read_text(encoding="utf-8")
        assert old in text, old
        path(name).write_text(text.replace(old, new, count), encoding="utf-8")

    def check(*documents, **options):
        return review.check(root, KEY, documents=documents or tuple(review.DOCUMENTS), convert=False, **options)

    return SimpleNamespace(root=root, key=KEY, path=path, edit=edit, check=check)
