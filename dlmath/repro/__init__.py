"""Papers as data: claims, studies, experiments, and the runner that measures them.

An experiment is one file that ends in `EXPERIMENT = Experiment(...)`. The runner lays its studies out as
*units* (a point of the grid, a block of seeds), computes those that are not yet in the store, and judges
each claim by the interval of its statistic. This subpackage knows no mathematics.
"""

from dlmath.repro._dask import dask_engine
from dlmath.repro._engine import Engine, local
from dlmath.repro._expect import AtLeast, AtMost, Curve, Equal, Slope
from dlmath.repro._experiment import RESERVED, SCALE_NAMES, Claim, Experiment, Study
from dlmath.repro._hosts import follow_hosts, leading_hosts
from dlmath.repro._judge import NOT_REPRODUCED, REPRODUCED, Judgement, judge
from dlmath.repro._paper import Paper, load
from dlmath.repro._record import StoredRun, changes_since, latest_run, read_run, runs
from dlmath.repro._results import Results
from dlmath.repro._runner import Run, run
from dlmath.repro._units import Unit, plan

__all__ = [
    "AtLeast",
    "AtMost",
    "Claim",
    "Curve",
    "Engine",
    "Equal",
    "Experiment",
    "Judgement",
    "NOT_REPRODUCED",
    "Paper",
    "REPRODUCED",
    "RESERVED",
    "Results",
    "Run",
    "SCALE_NAMES",
    "Slope",
    "StoredRun",
    "Study",
    "Unit",
    "changes_since",
    "dask_engine",
    "follow_hosts",
    "judge",
    "latest_run",
    "leading_hosts",
    "load",
    "local",
    "plan",
    "read_run",
    "run",
    "runs",
]
