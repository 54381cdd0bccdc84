"""What a user waits for before anything happens: imports and `dlmath list`, against `import jax`.

Fresh processes in turns, files in the page cache. Aims: `import jax, dlmath` within 10 % of `import jax`;
`dlmath list` under half of it.
"""

import statistics
import subprocess
import sys
import time

from benchmarks import _harness

COMMANDS = {
    "import jax": ["-c", "import jax"],
    "import jax, dlmath": ["-c", "import jax, dlmath"],
    "neural-tangents": ["-c", "from dlmath import compat; compat.neural_tangents()"],
    "dlmath list": ["-m", "dlmath", "list"],
}
ROUNDS = 15


def seconds(arguments):
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(arguments):
    if arguments:
        print(f"imports takes no options, got {' '.join(arguments)}", file=sys.stderr)
        return 2
    for command in COMMANDS.values():
        seconds(command)
    rounds = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(ROUNDS)]
    record = {"environment": _harness.environment(["jax", "dlmath"]), "seconds": {}, "ratio_to_import_jax": {}}
    for name in COMMANDS:
        record["seconds"][name] = _harness.summary([r[name] for r in rounds])
        # The ratio within a round: a busy moment strikes both.
        ratio = statistics.median(r[name] / r["import jax"] for r in rounds)
        record["ratio_to_import_jax"][name] = ratio
        print(f"{name:20s} {record['seconds'][name]['median']:.3f} s   {ratio:.2f} of import jax")
    print(_harness.write("imports", record))
    return 0
