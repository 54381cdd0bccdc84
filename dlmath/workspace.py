"""Where experiments live: the nearest folder with `experiments/`, else those shipped with the package.

Nothing here executes an experiment or imports more than the standard library, so that listing is instant.
"""

import ast
import json
import os
from pathlib import Path
from typing import Any

from dlmath import check

INDEX = "index.json"
"""File in `experiments/` with the titles, claims and measured costs of all papers."""


def root(start: str | os.PathLike[str] | None = None) -> Path:
    """The nearest folder, from `start` upwards, that has `experiments/`; else the one shipped with the package."""
    folder = Path(start or Path.cwd()).resolve()
    for candidate in (folder, *folder.parents):
        if (candidate / "experiments").is_dir():
            return candidate
    return folder


def experiments_folder(root: Path) -> Path:
    """`experiments/` of a workspace, or the folder of experiments installed with dlmath."""
    here = root / "experiments"
    if here.is_dir():
        return here
    package = Path(__file__).parent
    installed = package / "_experiments"
    return installed if installed.is_dir() else package.parent / "experiments"


def keys(folder: Path) -> list[str]:
    """Names of the experiments in a folder, sorted."""
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def find(key: str, folder: Path) -> Path:
    """Path of the experiment `key`; ValueError with the nearest name if there is none."""
    available = keys(folder)
    if key not in available:
        known = f"; there are {', '.join(available)}" if available else f"; {folder} has no experiments"
        raise ValueError(f"no experiment {key!r}{check.did_you_mean(key, available) or known}")
    return folder / f"{key}.py"


def title_and_abstract(text: str) -> tuple[str, str]:
    r"""First line of a file's docstring, and the rest of it, without executing the file.

    >>> title_and_abstract('"A title. And more.\\n\\nAn abstract."')
    ('A title. And more.', 'An abstract.')
    """
    docstring = ast.get_docstring(ast.parse(text)) or ""
    title, _, abstract = docstring.partition("\n")
    return title.strip(), abstract.strip()


def read_index(folder: Path) -> dict[str, Any]:
    """The recorded index of a folder of experiments, by key; empty where there is none."""
    path = folder / INDEX
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
