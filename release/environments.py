"""Bare environments in which the wheel of a release is installed and used."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROW = re.compile(r"^\| Python, PyTorch, torchvision \| (.+?); (.+?); (.+?) on .*\|$", re.MULTILINE)
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
LIGHT = ("cyclopts", "packaging", "rich")  # what `centernet2 --help` needs


class Torch(NamedTuple):
    """Releases of PyTorch and torchvision that belong together."""

    torch: str
    torchvision: str

    def requirements(self) -> list[str]:
        """Return what pip installs."""
        return [f"torch=={self.torch}", f"torchvision=={self.torchvision}"]


def named_releases(readme: str) -> list[Torch]:
    """Return the oldest and the newest PyTorch of the README's table of versions."""
    row = ROW.search(readme)
    if row is None:
        raise ValueError("README.md has no row of Python, PyTorch and torchvision")
    torches, torchvisions = ([each.strip() for each in row[n].split(",")] for n in (2, 3))
    pairs = [Torch(*pair) for pair in zip(torches, torchvisions, strict=True)]
    return list(dict.fromkeys((pairs[0], pairs[-1])))


@contextmanager
def environment(python: str, *requirements: str) -> Iterator[Path]:
    """Make a virtual environment with some packages; yield the path of its interpreter."""
    with TemporaryDirectory(prefix="centernet2-release-") as folder:
        call([python, "-m", "venv", folder])
        interpreter = Path(folder) / "bin/python"
        call([str(interpreter), "-m", "pip", "install", "--quiet", *requirements])
        yield interpreter


def find_python(version: str) -> str | None:
    """Return the interpreter of a version, from the PATH or through uv; None: there is none."""
    found = shutil.which(f"python{version}")
    if found and runs(found):
        return found
    uv = Path(sys.executable).with_name("uv")  # of the extra [release]
    if not uv.exists():
        return None
    install = [uv, "python", "install", version]
    if subprocess.run(install, check=False, capture_output=True).returncode:
        return None
    command = [uv, "python", "find", version]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def runs(python: str) -> bool:
    """Whether an interpreter starts; one on the PATH may be a stand-in for a missing one."""
    return subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0


def smoke_test(python: Path, root: Path, *, demo: bool) -> None:
    """Use an installed wheel outside the source tree; raise CalledProcessError if it fails."""
    with TemporaryDirectory(prefix="centernet2-smoke-") as folder:
        shutil.copy(root / "release/smoke.py", folder)
        call([str(python), "smoke.py"], cwd=folder)
        if demo:
            shutil.copytree(root / "demo", Path(folder) / "demo")
            call([str(python), "-m", "demo", "--output", "digits"], cwd=folder)


def start_test(python: str, wheel: Path) -> None:
    """Compile the package and print its help in another Python, without PyTorch."""
    with environment(python, *LIGHT) as interpreter:
        install = ["-m", "pip", "install", "--quiet", "--no-deps", str(wheel)]
        call([str(interpreter), *install])
        code = (
            "import centernet2 as c, compileall as a; assert a.compile_dir(c.__path__[0], quiet=1)"
        )
        call([str(interpreter), "-c", code])
        call([str(interpreter), "-m", "centernet2", "--help"], stdout=subprocess.DEVNULL)


def call(words: list[str], *, cwd: str | None = None, stdout: int | None = None) -> None:
    """Run a program without the source tree on its path; raise CalledProcessError if it fails."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run(words, check=True, cwd=cwd, env=clean, stdout=stdout)


def this_python() -> str:
    """Return the version of the running interpreter, such as 3.11."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"
