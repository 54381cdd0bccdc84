"""Where a run took place: versions, device, commit, memory."""

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any


def environment(root: Path) -> dict[str, Any]:
    """A JSON record of the machine, the packages and the commit of the workspace."""
    import jax

    from dlmath import __version__, sharding
    from dlmath.repro import _identity

    device = jax.devices()[0]
    return {
        "dlmath": __version__,
        "commit": _commit(root),
        "python": platform.python_version(),
        "packages": _identity.provenance("")["packages"],
        "system": f"{platform.system()} {platform.machine()}",
        "device": f"{device.platform}: {device.device_kind}",
        "num_devices": jax.device_count(),
        "num_cores": sharding.num_cores(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _commit(root: Path) -> str:
    try:
        show = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(show, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
