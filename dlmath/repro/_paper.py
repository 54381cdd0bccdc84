"""How a file becomes an experiment."""

import os
import sys
import types
from dataclasses import dataclass
from pathlib import Path

from dlmath import workspace
from dlmath.repro._experiment import Experiment

_PARENT = "dlmath_workspace"


@dataclass(frozen=True)
class Paper:
    """An experiment file read and executed: the text hashed is the text executed."""

    key: str
    path: Path
    text: str
    experiment: Experiment

    @property
    def title(self) -> str:
        """First line of the file's docstring."""
        return workspace.title_and_abstract(self.text)[0]


def load(path: str | os.PathLike[str]) -> Paper:
    """Executes an experiment file and returns its EXPERIMENT with the exact text that was executed.

    Raises:
        ValueError: if the file defines no EXPERIMENT.
    """
    path = Path(path).resolve()
    return load_text(path, path.read_text(encoding="utf-8"))


def load_text(path: str | os.PathLike[str], text: str) -> Paper:
    """Executes the text of an experiment file; its key is the name of `path`, which is not read."""
    path = Path(path)
    key = path.stem
    name = f"{_PARENT}.{key}"
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules.setdefault(_PARENT, types.ModuleType(_PARENT))
    sys.modules[name] = module  # dataclasses and pickle look their module up
    exec(compile(text, str(path), "exec"), module.__dict__)
    experiment = module.__dict__.get("EXPERIMENT")
    if not isinstance(experiment, Experiment):
        raise ValueError(f"{path} must define EXPERIMENT = dlmath.repro.Experiment(...), got {experiment!r}")
    return Paper(key, path, text, experiment)
