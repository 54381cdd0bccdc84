"""Runs a benchmark: `python -m benchmarks NAME [options]`; without a name, lists them."""

import importlib
import pkgutil
import sys

import benchmarks


def names():
    """Benchmarks in this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name[0] != "_")


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help", "list"):
        print(__doc__)
        for name in names():
            print(f"  {name:20s} {importlib.import_module(f'benchmarks.{name}').__doc__.splitlines()[0]}")
        return 0
    name, *rest = arguments
    if name not in names():
        print(f"there is no benchmark {name!r}; choose one of {', '.join(names())}", file=sys.stderr)
        return 2
    return importlib.import_module(f"benchmarks.{name}").main(rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
