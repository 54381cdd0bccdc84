"""Contenders in processes of their own, timed in turns, so that a busy moment strikes all of them alike."""

import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


class Contender:
    """A worker process that runs one contender on request.

    Protocol: a line of JSON (or "run") on its input, a line of JSON on its output; the first line reports the start.
    """

    def __init__(self, module, options, python=None):
        command = [python or sys.executable, "-m", module, "--worker", json.dumps(options)]
        # Another interpreter gets this folder, and no compiled programs of another JAX.
        others = {"PYTHONPATH": str(RESULTS.parents[1]), "JAX_COMPILATION_CACHE_DIR": ""} if python else {}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **others}
        )
        self.first = self._answer()

    def run(self, **request):
        """One measured run: {"seconds": ..., "peak_bytes": ..., ...}; `request` is for workers that `serve`."""
        self.process.stdin.write(f"{json.dumps(request)}\n" if request else "run\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"contender ended with status {self.process.wait()}; its error is above")
        return json.loads(line)


def work(function):
    """The worker's side: `function() -> dict` is called once to warm up and once for every request."""
    answer(timed(function))
    for _ in sys.stdin:
        answer(timed(function))


def serve(makers, save):
    """The worker's side of several functions: answers requests {"name": ..., "repeats": 1, "save": None, **options}.

    `makers[name]() -> function` is called at the first request for that name; `function(**options)` is what is timed,
    and `save(path, name, value)` stores its value for a check.
    """
    made = {}
    answer({"names": list(makers)})
    for line in sys.stdin:
        request = json.loads(line)
        name, repeats, path = request.pop("name"), request.pop("repeats", 1), request.pop("save", None)
        _reset_peak()
        value = None

        def repeat(name=name, repeats=repeats, request=request):
            nonlocal value
            if name not in made:
                made[name] = makers[name]()
            for _ in range(repeats):
                value = made[name](**request)
            return {}

        record = timed(repeat)
        record |= {key: record[key] / repeats for key in ("seconds", "cpu_seconds")}
        if path is not None:
            record |= save(path, name, value) or {}
        answer(record)


def timed(function):
    start, start_cpu = time.perf_counter(), time.process_time()
    result = function()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak, **result}


def _reset_peak():
    """Starts the peak of memory anew, where the system can (Linux); elsewhere it is that of the process so far."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def answer(record):
    print(json.dumps(record), flush=True)


def in_turns(contenders, rounds):
    """name -> runs, each round once through all contenders, every other round backwards."""
    runs = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: 1 if number % 2 == 0 else -1]:
            runs[name].append(contenders[name].run())
    return runs


def summary(values):
    """Median and quartiles."""
    ordered = sorted(values)
    low, _, high = statistics.quantiles(ordered, n=4) if len(ordered) > 1 else ordered * 3
    return {"median": statistics.median(ordered), "quartiles": [low, high], "min": ordered[0], "runs": len(ordered)}


def environment(packages):
    """Machine, versions and commit that a result belongs to."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "modified": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_average": list(os.getloadavg()),
        "allocator": {name: value for name, value in sorted(os.environ.items()) if name.startswith("MALLOC_")},
        "versions": versions,
    }


def write(name, record):
    """Writes `record` to the folder of results."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


def _git(*arguments):
    result = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    return result.stdout.strip() if result.returncode == 0 else None


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
