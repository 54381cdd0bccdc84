"""The command `dlmath`: list, show, run, report, compare, new, review, index.

    dlmath list                     papers, claims, measured cost at each scale
    dlmath show KEY                 one paper: what it claims, its settings, what was found
    dlmath run KEY [--scale S]      measure a paper's claims (--all: of every paper)
    dlmath report [KEY...]          write every claim and figure as a self-contained HTML site
    dlmath compare RUN RUN          two runs side by side: which claims moved beyond their intervals
    dlmath new KEY                  scaffold an experiment with its proposal, review and slides
    dlmath review check|build KEY   check a review against stored results; make HTML, PDF and slides
    dlmath index                    record the latest runs in experiments/ and the README

Commands import what they need when they run: listing loads neither JAX nor xarray.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from dlmath import check

_COMMANDS = {name: f"_{name}" for name in ("list", "show", "run", "report", "compare", "new", "review", "index")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status: 0, 1 (a claim is broken) or 2 (bad input)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if arguments[0] in ("-V", "--version", "version"):
        from dlmath import __version__

        print(f"dlmath {__version__}")
        return 0
    try:
        name = check.one_of("command", arguments[0], tuple(_COMMANDS))
        command: Callable[[list[str]], int] = import_module(f"dlmath.cli.{_COMMANDS[name]}").main
        return command(arguments[1:])
    except (ValueError, TypeError) as error:
        print(f"dlmath: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("dlmath: interrupted; finished units are kept, run the same command to go on", file=sys.stderr)
        return 130


def _usage() -> str:
    lines = (__doc__ or "").splitlines()
    return "\n".join(["usage: dlmath COMMAND [options]; dlmath COMMAND --help for its options", "", *lines[2:10]])
