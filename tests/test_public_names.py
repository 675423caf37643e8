"""The names that `import centernet2` offers, and what that import costs."""

import subprocess
import sys

import pytest

import centernet2


def loaded_modules(code: str) -> set[str]:
    """Return the modules that a new interpreter has loaded after some code."""
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", centernet2.__all__)
def test_public_name_is_importable(name: str) -> None:
    assert getattr(centernet2, name).__name__ == name


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'centernet2' has no attribute 'nothing'"):
        centernet2.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_import_loads_no_heavy_module() -> None:
    assert not {"torch", "numpy", "cyclopts", "pydantic"} & loaded_modules("import centernet2")
