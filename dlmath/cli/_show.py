"""`dlmath show KEY`: what a paper claims, its settings, and what the recorded runs found."""

from dataclasses import dataclass

import tyro
from rich.markup import escape

from dlmath import workspace
from dlmath._wording import duration, memory
from dlmath.cli._tables import claims_table, console, notes


@dataclass(frozen=True)
class Options:
    """Shows one paper: its claims, and what the recorded runs found."""

    key: tyro.conf.Positional[str]
    """Key of the paper, as in `dlmath list`."""


def main(arguments: list[str]) -> int:
    """Prints a paper's abstract and a table of claims for each recorded scale."""
    key = tyro.cli(Options, prog="dlmath show", args=arguments).key
    folder = workspace.experiments_folder(workspace.root())
    path = workspace.find(key, folder)
    title, abstract = workspace.title_and_abstract(path.read_text(encoding="utf-8"))
    entry = workspace.read_index(folder).get(key)
    out = console()
    out.print(f"[bold]{escape(title)}[/]\n{escape(abstract)}\n\n[dim]{path}[/]\n")
    if entry is None:
        out.print(f"Not recorded yet: dlmath run {key} measures it, dlmath index records it.")
        return 0
    for scale, run in entry["scales"].items():
        rows = run["claims"]
        out.print(claims_table(f"{scale}: {duration(run['seconds'])}, {memory(run['peak_memory'])}", rows))
        for note in notes(rows):
            out.print(f"  {escape(note)}")
        machine = run["environment"]
        packages = machine["packages"]
        out.print(
            f"  [dim]{run['units']} units, {run['finished']}, {machine['device']}, {machine['num_cores']} cores, "
            f"Python {machine['python']}, jax {packages['jax']}, commit {machine['commit'] or 'unknown'}[/]\n"
        )
    return 0
