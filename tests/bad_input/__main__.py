"""Runs every malformed call of this folder and prints what came of it as JSON.

Not run by pytest itself: its import hook would stop wrong types before dlmath's own checks see them.
"""

import contextlib
import importlib.util
import io
import json
import re
import sys
import traceback
from pathlib import Path

import dlmath

FOLDER = Path(__file__).parent
PACKAGE = Path(dlmath.__file__).parent


def outcomes() -> list[dict]:
    found = []
    for path in sorted(FOLDER.glob("*.py")):
        if not path.stem.startswith("_"):
            found += [outcome(path.stem, *case) for case in load(path).CASES]
    return found


def load(path: Path):
    spec = importlib.util.spec_from_file_location(f"bad_input_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def outcome(part: str, name: str, call, expected: type, pattern: str) -> dict:
    printed = io.StringIO()
    mro, text, named = [], "", []
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            call()
    except (Exception, SystemExit) as error:
        mro = [base.__name__ for base in type(error).__mro__]
        text = str(error) if not isinstance(error, SystemExit) else f"{error} {printed.getvalue()}"
        named = named_in(text, error)
    return {
        "part": part, "name": name, "expected": expected.__name__, "pattern": pattern,
        "error": mro, "text": text, "matches": re.search(pattern, text, re.DOTALL) is not None, "named": named,
    }  # fmt: skip


def named_in(text: str, error: BaseException) -> list[str]:
    """The arguments of dlmath's functions on the way to the error that its message names.

    An argument is named by its own name, or by a text it holds (a misspelt attribute, a file, an option).
    """
    names = set()
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if not Path(frame.f_code.co_filename).is_relative_to(PACKAGE):
            continue
        code = frame.f_code
        for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
            names.add(name)
            value = frame.f_locals.get(name)
            values = value if isinstance(value, list | tuple) else [value]
            names.update(str(item) for item in values if isinstance(item, str | Path) and str(item))
    return sorted(name for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text))


if __name__ == "__main__":
    sys.path.pop(0)  # this folder: its data.py and train.py must not be found as modules
    print(json.dumps(outcomes()))
