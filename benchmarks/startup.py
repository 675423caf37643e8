"""Seconds to import the package, beyond PyTorch's, and to run `centernet2 --help`.

python benchmarks/startup.py [--runs 7]

Each side is a fresh process; they run in turn. What the package adds is the difference, run by run.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable

from harness import compare


def command(*arguments: str) -> Callable[[], object]:
    return lambda: subprocess.run(
        [sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    both = {"import torch, centernet2": command("-c", "import torch, centernet2")}
    compare("import", {**both, "import torch": command("-c", "import torch")}, runs=runs)
    helps = {"centernet2 --help": command("-m", "centernet2", "--help")}
    compare("help", {**helps, "python": command("-c", "pass")}, runs=runs)


if __name__ == "__main__":
    main()
