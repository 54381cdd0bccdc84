"""Runs every malformed call of this folder and prints what came of it as JSON.

Not run by pytest itself: its import hook would stop wrong types before dlmath's own checks see them.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import inspect
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

    An argument is named by its own name, by a text it holds (a misspelt attribute, a file, an option), or by the
    field or entry of it that is at fault; where the error is raised, also by the name it has there. A message may
    also open with the name that a public function or class has for it. A function without arguments names its module.
    """
    names, innermost = set(), ()
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if not Path(frame.f_code.co_filename).is_relative_to(PACKAGE):
            continue
        code, innermost = frame.f_code, frame.f_code.co_varnames
        arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        names |= {*arguments, type(frame.f_locals.get("self")).__name__.lower()}
        if not arguments:
            names.add(frame.f_globals["__name__"])
        for argument in arguments:
            names |= parts(frame.f_locals.get(argument))
    names |= set(innermost)
    opening = re.match(r"\w+", text)
    if opening and opening[0] in public_arguments():
        names.add(opening[0])
    return sorted(name for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text))


@functools.cache
def public_arguments() -> set[str]:
    names = set()
    for package in (getattr(dlmath, name) for name in dlmath.__all__):
        for public in getattr(package, "__all__", ()):
            with contextlib.suppress(TypeError, ValueError):
                names |= {*inspect.signature(getattr(package, public)).parameters}
    return names


def parts(value) -> set[str]:
    """What a message may call a part of an argument: its text, items, keys or fields."""
    if dataclasses.is_dataclass(value):
        return {field.name for field in dataclasses.fields(value)}
    held = value if isinstance(value, list | tuple | dict) else [value]
    return {str(item) for item in held if isinstance(item, str | Path) and str(item)} | {*getattr(value, "_fields", ())}


if __name__ == "__main__":
    sys.path.pop(0)  # this folder: its data.py and train.py must not be found as modules
    print(json.dumps(outcomes()))
