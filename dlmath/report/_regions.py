"""What each claim of a stored run accepts, where the paper's file still says the same."""

import dataclasses
import json
from typing import Any

import numpy as np
import xarray as xr

from dlmath import repro

Region = tuple[np.ndarray, np.ndarray]


def regions(run: repro.StoredRun, paper: repro.Paper | None) -> dict[str, Region]:
    """Lower and upper ends of the accepted region by the name of the claim, one entry a point.

    A claim is left out where the region cannot be told for sure: its expectation was edited since, the settings
    are no longer those of the file, or the curve read from the stored results is not the one that was judged.
    """
    config = None if paper is None else _config(run, paper)
    if paper is None or config is None:
        return {}
    results, found = None, {}
    for claim in paper.experiment.claims:
        judged = run.claim(claim.name)
        if judged is None or not judged.value:
            continue
        try:
            if claim.expect.describe(config) != judged.expected:
                continue
            if isinstance(claim.expect, repro.Curve):
                results = _results(run) if results is None else results
                region = _curve_region(claim, config, results, judged)
            else:
                low, high = claim.expect.region(config)
                region = np.asarray([low]), np.asarray([high])
        except Exception:  # a drawing is left out; the verdict beside it was reached when the run was made
            continue
        if region is not None:
            found[claim.name] = region
    return found


def is_curve(judged: repro.Judgement) -> bool:
    """Whether a judgement is of a curve, which may have a single point."""
    return len(judged.value) > 1 or "points inside" in judged.note


def _config(run: repro.StoredRun, paper: repro.Paper) -> Any:
    """The settings of the run as the paper's dataclass, or None if the fields have changed."""
    recorded, scales = run.record["config"], paper.experiment.scales
    candidates = [scales[run.scale]] if run.scale in scales else []
    try:
        values = {name: tuple(v) if isinstance(v, list) else v for name, v in recorded.items()}
        candidates.append(paper.experiment.config(**values))
    except (TypeError, ValueError):
        pass
    return next((c for c in candidates if json.loads(json.dumps(dataclasses.asdict(c), default=str)) == recorded), None)


def _results(run: repro.StoredRun) -> repro.Results:
    # Left open, so that only what a claim reads is read; a Zarr folder holds no open file.
    tree = xr.open_datatree(run.folder / "results.zarr", engine="zarr", consolidated=False)
    return repro.Results({name: node.to_dataset() for name, node in tree.children.items()})


def _curve_region(claim: repro.Claim, config: Any, results: repro.Results, judged: repro.Judgement) -> Region | None:
    curve = claim.statistic(config, results)
    curve = curve.mean("seed", skipna=False) if "seed" in curve.dims else curve
    if not np.allclose(curve.to_numpy().ravel(), judged.value, rtol=1e-9, atol=0.0):
        return None
    expect: Any = claim.expect
    points = {str(dim): curve[dim].to_numpy() for dim in curve.dims}
    grids = np.meshgrid(*points.values(), indexing="ij")
    theory = np.asarray(expect.theory(config, **dict(zip(points, grids, strict=True))), float).ravel()
    tolerance = expect.atol + expect.rtol * np.abs(theory)
    return theory - tolerance, theory + tolerance
