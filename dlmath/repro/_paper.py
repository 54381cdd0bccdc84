"""How a file becomes an experiment."""

import os
import sys
import types
from dataclasses import dataclass
from pathlib import Path

from dlmath import workspace
from dlmath.repro._experiment import Experiment


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
    key, text = path.stem, path.read_text(encoding="utf-8")
    name = f"dlmath_workspace.{key}"
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look their module up
    exec(compile(text, str(path), "exec"), module.__dict__)
    experiment = module.__dict__.get("EXPERIMENT")
    if not isinstance(experiment, Experiment):
        raise ValueError(f"{path} must define EXPERIMENT = dlmath.repro.Experiment(...), got {experiment!r}")
    return Paper(key, path, text, experiment)
