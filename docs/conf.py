"""Sphinx configuration: `sphinx-build -W --keep-going -b html docs docs/_build/html`.

Nothing is fetched, and nothing is written outside docs/_build, or the folder that JAX_COMPILATION_CACHE_DIR names.
"""

import os
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))
os.environ.setdefault("MPLBACKEND", "agg")
# Absolute, for notebooks are executed in their own folder.
_cache = DOCS.parent / (os.environ.get("JAX_COMPILATION_CACHE_DIR") or "docs/_build/jax")
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_cache)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

# After the path and the environment are set, which these imports read.
from _sphinx import api, example, gallery, neural_tangents  # noqa: E402
from sphinx.errors import ExtensionError  # noqa: E402

import dlmath  # noqa: E402
from dlmath import workspace  # noqa: E402

project = "dlmath"
author = "The dlmath developers"
copyright = author  # noqa: A001 (the name that Sphinx reads)
version = release = dlmath.__version__

extensions = ["myst_nb", "sphinxcontrib.bibtex", "_sphinx.mathml"]
exclude_patterns = ["_build", "_sphinx", "**/.ipynb_checkpoints"]
templates_path: list[str] = []

# Markdown
myst_enable_extensions = ["dollarmath", "amsmath", "fieldlist", "deflist", "colon_fence"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

# Notebooks are executed once, and again when they change.
nb_execution_mode = "cache"
nb_execution_cache_path = str(DOCS / "_build" / ".jupyter_cache")
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

# One bibliography for the reviews and the documentation
bibtex_bibfiles = ["../paper_reviews/refs.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

# Python
add_module_names = False
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 88
python_display_short_literal_types = True
highlight_language = "text"

# HTML
smartquotes_action = "D"  # dashes; quotation marks stay as typed
html_theme = "sphinx_book_theme"
html_title = "dlmath"
html_math_renderer = "mathml"
html_static_path = ["_static", "../dlmath/review/fonts"]
html_css_files = ["dlmath.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
}

_API, _SUMMARY, _GALLERY = "<!-- api -->", "<!-- api: summary -->", "<!-- gallery -->"
_EXAMPLE = "<!-- worked example -->"
_SUITE, _FAILURES = "<!-- suite: table -->", "<!-- suite: failures -->"


def _check(_: Any) -> None:
    missing = api.undocumented()
    if missing:
        raise ExtensionError("the API is not documented:\n  " + "\n  ".join(missing))


def _outdated(app: Any, env: Any, *_: Any) -> list[str]:
    """Pages made from code are read again in every build."""
    return [
        name
        for name in env.found_docs
        if name in ("adding_a_paper", "gallery", "neural_tangents", "papers") or name.startswith("api/")
    ]


def _fill(app: Any, docname: str, source: list[str]) -> None:
    text = source[0]
    if docname.startswith("api/") and docname != "api/index":
        text = text.replace(_API, api.page(docname.removeprefix("api/")))
    if docname == "api/index":
        text = text.replace(_SUMMARY, api.summary())
    if docname == "gallery":
        text = text.replace(_GALLERY, gallery.page(gallery.runs(), _anchors()))
    if docname == "adding_a_paper":
        text = text.replace(_EXAMPLE, example.page())
    if docname == "neural_tangents":
        record = neural_tangents.read()
        text = text.replace(_SUITE, neural_tangents.table(record))
        text = text.replace(_FAILURES, neural_tangents.explained(record))
    source[0] = text


def _anchors() -> dict[str, str]:
    """Anchors of the papers' sections on the page of claims, by key."""
    from myst_parser.mdit_to_docutils.base import default_slugify

    index = workspace.read_index(gallery.EXPERIMENTS)
    return {key: default_slugify(entry["title"]) for key, entry in index.items()}


def _complete(app: Any, env: Any) -> None:
    documented = set(env.domains["py"].objects)
    missing = sorted(api.names() - documented)
    if missing:
        raise ExtensionError("the API pages lack " + ", ".join(missing))


def setup(app: Any) -> None:
    """Connects what is made from the code."""
    app.connect("builder-inited", _check)
    app.connect("env-get-outdated", _outdated)
    app.connect("source-read", _fill)
    app.connect("env-check-consistency", _complete)
