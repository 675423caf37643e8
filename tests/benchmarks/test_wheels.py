"""The folder of wheels has what the package needs, and only what is missing is installed."""

import importlib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "wheels.py"


@pytest.fixture
def wheels(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FILE.parent))
    return importlib.import_module("wheels")


def write_wheel(folder: Path, name: str) -> None:
    """Write a wheel with one module."""
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "ANSWER = 42\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n")


def test_requirements_are_those_of_requirements_too(wheels: ModuleType) -> None:
    needed = wheels.requirements("centernet2")
    assert {"cyclopts", "docstring-parser", "torch", "sympy"} <= needed  # two are of others
    assert "pytest" not in needed  # of an extra


def test_installs_what_is_missing(wheels: ModuleType, tmp_path: Path) -> None:
    folder, target = tmp_path / "wheels", tmp_path / "packages"
    folder.mkdir()
    write_wheel(folder, "no_package_of_this_name")
    write_wheel(folder, "numpy")
    assert wheels.install(folder, target) == ["no-package-of-this-name"]
    assert (target / "no_package_of_this_name.py").is_file()
    assert not (target / "numpy.py").exists()
