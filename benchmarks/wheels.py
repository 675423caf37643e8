"""A folder of wheels with what the package needs beside PyTorch, for machines without a network.

python benchmarks/wheels.py FOLDER [--python 3.12.3] [--also torchvision==0.26.0]

Run it where the package is installed: the wheels have the versions that are installed there.
PyTorch and torchvision, which must match, are not in the folder, nor are their own requirements;
--also adds packages. `install` puts those that a machine lacks into a folder of their own.
"""

import argparse
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, requires, version
from pathlib import Path

PROJECT, PRESENT = "centernet2", ("torch", "torchvision")
# is not needed to write TensorBoard's files, and large
UNUSED = ("tensorboard-data-server",)
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux1")


def fill(folder: Path, python: str, also: list[str]) -> None:
    names = requirements(PROJECT) - set(PRESENT) - set(UNUSED)
    for name in PRESENT:
        names -= requirements(name)
    pinned = [f"{name}=={version(name)}" for name in sorted(names)]
    tags = [f"--platform={name}_{platform.machine()}" for name in PLATFORMS]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(folder),
    ]
    target = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *tags]
    subprocess.run([*command, *target, *pinned, *also], check=True)
    size = sum(file.stat().st_size for file in folder.glob("*.whl")) / 2**20
    print(f"{len(list(folder.glob('*.whl')))} wheels, {size:.0f} MB: {folder}")


def requirements(name: str) -> set[str]:
    """Return the names of all packages that an installed one needs, directly or not."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    waiting = [name]
    while waiting:
        for text in requires(waiting.pop()) or ():
            requirement = Requirement(text)
            needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if needed and (key := normalized(requirement.name)) not in found:
                found.add(key)
                waiting.append(key)
    return found


def install(folder: Path, target: Path) -> list[str]:
    """Install the packages that are missing into the folder `target`; return their names."""
    files = {normalized(file.name.partition("-")[0]): file for file in folder.glob("*.whl")}
    missing = {name: file for name, file in files.items() if not is_installed(name)}
    if missing:
        options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--target", str(target)]
        command = [sys.executable, "-m", "pip", "install", *options, *map(str, missing.values())]
        subprocess.run(command, check=True)
    return sorted(missing)


def is_installed(name: str) -> bool:
    try:
        return distribution(name) is not None
    except PackageNotFoundError:
        return False


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default=platform.python_version())
    parser.add_argument("--also", nargs="*", default=[], metavar="NAME==VERSION")
    options = parser.parse_args()
    fill(options.folder, options.python, options.also)


if __name__ == "__main__":
    main()
