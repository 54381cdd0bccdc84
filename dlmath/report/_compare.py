"""Two runs of a paper side by side: which claims moved beyond their intervals, and what else differs."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlmath import _wording, check, repro
from dlmath.report import _words
from dlmath.report._regions import is_curve

MOVED, WITHIN, UNKNOWN = "moved", "within", "cannot tell"
SLACK = 1e-12
SCALES = (*repro.SCALE_NAMES, "custom")


class Shift(NamedTuple):
    """A claim in both runs.

    Attributes:
        name, statement: the claim.
        first, second: its judgement in each run.
        difference: second value minus first, for a number; the largest in size, for a curve; None where unknown.
        moved: "moved", "within" or "cannot tell".
        detail: why, in words.
        changed: whether the verdict is another one.
        broke: whether the claim holds as recorded in the first run and does not in the second.
    """

    name: str
    statement: str
    first: repro.Judgement
    second: repro.Judgement
    difference: float | None
    moved: str
    detail: str
    changed: bool
    broke: bool


class Difference(NamedTuple):
    """Something that is `first` in one run and `second` in the other; empty where a run lacks it."""

    name: str
    first: str
    second: str


class Comparison(NamedTuple):
    """Two runs side by side.

    Attributes:
        first, second: the runs.
        shifts: claims in both, in the file's order.
        only_first, only_second: names of claims that one run lacks.
        settings, environment: what differs; the environment includes versions, device, commit and code.
        sentence: the outcome in one sentence.
    """

    first: repro.StoredRun
    second: repro.StoredRun
    shifts: list[Shift]
    only_first: list[str]
    only_second: list[str]
    settings: list[Difference]
    environment: list[Difference]
    sentence: str

    @property
    def labels(self) -> tuple[str, str]:
        """A short name for each run: the scale, and the run where that is the same."""
        names = [(r.scale, r.folder.name) for r in (self.first, self.second)]
        same = self.first.scale == self.second.scale
        first, second = (f"{scale} {run}" if same else scale for scale, run in names)
        return first, second

    @property
    def different(self) -> bool:
        """Whether a claim moved beyond its intervals or broke."""
        return any(shift.moved == MOVED or shift.broke for shift in self.shifts)


def compare(first: repro.StoredRun, second: repro.StoredRun) -> Comparison:
    """Which claims of a paper moved beyond their intervals between two runs, and what differs between the runs.

    A number *moved* if its two intervals are disjoint: max(low₂ − high₁, low₁ − high₂) > 10⁻¹² max |bounds|. An exact
    value is an interval of length zero, so two of them moved if they differ by more than 10⁻¹² in relation. A curve
    moved if the intervals are disjoint at one point at least; both runs must have been taken at the same points. It
    *cannot be told* where a claim has no finite interval in both runs (one seed, not testable, incomplete, failed),
    or where the points differ.

    Args:
        first: a run, from `find_run`, `repro.latest_run` or `repro.read_run`.
        second: another run of the same paper.

    Raises:
        ValueError: if the runs are of different papers.

    The intervals are of 95 %: where nothing has changed but independent seeds, the intervals of a claim are disjoint
    in about 0.6 % of cases (normal errors of equal size: P(|Z| > 2·1.96/√2)).
    """
    for argument, run in (("first", first), ("second", second)):
        if not isinstance(run, repro.StoredRun):
            raise TypeError(f"{argument} must be a StoredRun, got {run!r}; read one with dm.report.find_run")
    if first.key != second.key:
        raise ValueError(f"first and second must be runs of one paper, got {first.key!r} and {second.key!r}")
    names = [row.name for row in first.claims]
    known = {row.name: row for row in second.claims}
    moved_axes = _points_that_differ(first, second)
    shifts = [_shift(row, known[row.name], moved_axes) for row in first.claims if row.name in known]
    return Comparison(
        first,
        second,
        shifts,
        [name for name in names if name not in known],
        [name for name in known if name not in names],
        _differences(first.record["config"], second.record["config"]),
        _differences(_circumstances(first.record), _circumstances(second.record)),
        _sentence(shifts),
    )


def find_run(name: str, results: str | os.PathLike[str]) -> repro.StoredRun:
    """The run that a name means: a run's folder, or KEY/SCALE/RUN, KEY/SCALE or KEY in a folder of results.

    KEY/SCALE is the latest run at a scale, KEY the latest at the smallest scale that was run.

    Raises:
        ValueError: if there is no such run, with the nearest name.
        files.DamagedFileError: if the run is damaged.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a string such as 'KEY/smoke', got {name!r}")
    if (Path(name) / "manifest.json").is_file() or (Path(name) / "run.json").is_file():
        return repro.read_run(name)
    results = Path(results)
    parts = [part for part in name.split("/") if part]
    if not 1 <= len(parts) <= 3 or name.startswith(("/", ".")):
        raise ValueError(f"name must be a run's folder, KEY, KEY/SCALE or KEY/SCALE/RUN, got {name!r}")
    _find_part("paper", parts[0], _folders(results), name, f"dlmath run {parts[0]} makes one")
    scales = [scale for scale in SCALES if (results / parts[0] / scale).is_dir()]
    if len(parts) == 1:
        found = (run for scale in scales if (run := repro.latest_run(results, parts[0], scale)) is not None)
        run = next(found, None)
    else:
        _find_part("scale", parts[1], scales, name, f"dlmath run {parts[0]} --scale {parts[1]} makes one")
        if len(parts) == 3:
            stored = [path.name for path in repro.runs(results, parts[0], parts[1])]
            _find_part("run", parts[2], stored, name, f"there are {', '.join(stored) or 'none'}")
            return repro.read_run(results / parts[0] / parts[1] / parts[2])
        run = repro.latest_run(results, parts[0], parts[1])
    if run is None:
        raise ValueError(f"name {name!r} matches no stored run in {results}; dlmath run {parts[0]} makes one")
    return run


def _find_part(kind: str, part: str, known: list[str], name: str, hint: str) -> None:
    if part not in known:
        near = check.did_you_mean(part, known)
        raise ValueError(f"name {name!r} matches no stored run: no {kind} {part!r}{near or f'; {hint}'}")


def _folders(results: Path) -> list[str]:
    return sorted(path.name for path in results.iterdir() if path.is_dir()) if results.is_dir() else []


def _shift(first: repro.Judgement, second: repro.Judgement, moved_axes: list[str]) -> Shift:
    difference, moved, detail = _moved(first, second, moved_axes)
    changed = _words.mark(first.verdict, first.fails) != _words.mark(second.verdict, second.fails)
    broke = second.broken and not first.broken
    return Shift(first.name, second.statement, first, second, difference, moved, detail, changed, broke)


def _moved(first: repro.Judgement, second: repro.Judgement, moved_axes: list[str]) -> tuple[float | None, str, str]:
    for which, row in (("first", first), ("second", second)):
        if not row.value:
            return None, UNKNOWN, f"{_words.mark(row.verdict, row.fails).words} in the {which} run"
    curve = is_curve(first) or is_curve(second)
    if curve and len(first.value) != len(second.value):
        return (
            None,
            UNKNOWN,
            f"the points differ: {len(first.value)} in the first run, {len(second.value)} in the second",
        )
    if curve and moved_axes:
        return None, UNKNOWN, f"the points differ along {', '.join(moved_axes)}"
    value, low, high = (np.asarray([getattr(first, a), getattr(second, a)], float) for a in ("value", "low", "high"))
    difference = value[1] - value[0]
    largest = float(difference[np.abs(difference).argmax()]) if np.isfinite(difference).all() else None
    if not (np.isfinite(value).all() and np.isfinite(low).all() and np.isfinite(high).all()):
        return largest, UNKNOWN, "no finite interval in both runs"
    gap = np.maximum(low[1] - high[0], low[0] - high[1])
    disjoint = gap > SLACK * np.abs([*low, *high]).max(axis=0)
    if curve:
        detail = f"{int(disjoint.sum())} of {_wording.count(disjoint.size, 'point')} moved"
    else:
        exact = bool((low == high).all())
        detail = {
            (True, True): "the exact values differ",
            (False, True): "the exact values agree",
            (True, False): "the intervals are disjoint",
            (False, False): "the intervals overlap",
        }[bool(disjoint.any()), exact]
    return largest, MOVED if disjoint.any() else WITHIN, detail


def _points_that_differ(first: repro.StoredRun, second: repro.StoredRun) -> list[str]:
    """Names of the axes, seeds apart, along which the two runs were measured at other points."""
    before, after = _points(first), _points(second)
    return sorted(
        {
            name.split("/")[-1]
            for name in {*before, *after}
            if name not in before or name not in after or not np.array_equal(before[name], after[name])
        }
    )


def _points(run: repro.StoredRun) -> dict[str, np.ndarray]:
    import xarray as xr

    store = run.folder / "results.zarr"
    if not store.is_dir():
        return {}
    with xr.open_datatree(store, engine="zarr", consolidated=False) as tree:
        return {
            f"{study}/{name}": axis.to_numpy()
            for study, node in tree.children.items()
            for name, axis in node.coords.items()
            if name != "seed"
        }


def _circumstances(record: Mapping[str, Any]) -> dict[str, Any]:
    """Where and from what a run was made, as flat names."""
    machine = dict(record["environment"])
    packages = machine.pop("packages", {})
    flat = {name: record[name] for name in ("precision", "platform", "engine") if name in record}
    flat |= {name.replace("_", " "): value for name, value in machine.items()}
    flat |= {str(name): version for name, version in packages.items()}
    flat |= {f"code of study {name}": code for name, code in dict(record.get("code", {})).items()}
    if "claims_code" in record:
        flat["claims"] = record["claims_code"]
    for study in dict(record.get("provenance", {})).values():
        flat |= {f"dlmath.{name}": digest for name, digest in study.get("dlmath", {}).items()}
    return flat


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    def words(record: Mapping[str, Any], name: str) -> str:
        return _words.portable(_words.setting(record[name])) if name in record else ""

    names = [*first, *(name for name in second if name not in first)]
    missing = object()
    return [
        Difference(name, words(first, name), words(second, name))
        for name in names
        if first.get(name, missing) != second.get(name, missing)
    ]


def _sentence(shifts: list[Shift]) -> str:
    moved = [shift.name for shift in shifts if shift.moved == MOVED]
    broke = [shift.name for shift in shifts if shift.broke]
    unknown = sum(shift.moved == UNKNOWN for shift in shifts)
    number = str(len(moved)) if moved else "None"
    text = f"{number} of {_wording.count(len(shifts), 'claim')} moved beyond their intervals"
    if moved:
        text += f": {', '.join(moved)}"
    if broke:
        text += f"; {len(broke)} no longer {'holds' if len(broke) == 1 else 'hold'}: {', '.join(broke)}"
    if shifts and not any(shift.changed for shift in shifts):
        text += "; no verdict changed"
    if unknown:
        text += f"; {unknown} cannot be told"
    return text + "."


def spread(difference: float | None) -> str:
    """A difference with its sign.

    >>> spread(0.00312), spread(0.0), spread(None)
    ('+0.00312', '0', '–')
    """
    if difference is None or not math.isfinite(difference):
        return "–"
    return f"{difference:+.3g}" if difference else "0"
