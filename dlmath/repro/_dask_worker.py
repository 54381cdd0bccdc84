"""The worker of a cluster on this machine; imported by its processes, since it needs the extra `cluster`."""

import logging
import signal
import threading
from typing import Any

import distributed


class Worker(distributed.Worker):
    """A worker that leaves Ctrl-C and reports to the process that started it.

    A terminal sends SIGINT to every process it started: workers finish their unit, and the driver decides.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        silence()
        super().__init__(*arguments, **options)


def silence() -> dict[logging.Logger, int]:
    """Turns Dask's loggers off; returns their levels before."""
    names = [name for name in logging.Logger.manager.loggerDict if name.split(".")[0] in ("distributed", "tornado")]
    levels = {logger: logger.level for logger in map(logging.getLogger, ["asyncio", *names])}
    for logger in levels:
        logger.setLevel(logging.CRITICAL + 1)
    return levels
