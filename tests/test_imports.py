"""Imports of the package and of the tests: who may import whom."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "centernet2"
SOURCE = Path(__file__).parents[1] / "src" / PACKAGE

# parts that import nothing from the package besides themselves
NOTHING = (
    "structures devices distributed files yaml_files threads progress exit_codes "
    "spelling option_groups help_pages ranges versions ops"
)
# part (a file or folder of the package) -> what else it may import from the package; "a.b" admits
# one module of a part; config takes the option groups beside the classes that read them
ALLOWED: dict[str, set[str]] = {part: set() for part in NOTHING.split()} | {
    part: set(others.split())
    for part, others in {
        "text_files": "files",
        "outputs": "files",
        "usage": "spelling",
        "arguments": "ranges spelling usage",
        "score_thresholds": "files",
        "config": "models data training ranges spelling text_files yaml_files",
        "kernels": "ops",
        "layers": "ops kernels",
        "models": "layers ops kernels structures distributed score_thresholds",
        "images": "structures files",
        "data": "structures images ops distributed files outputs progress text_files yaml_files",
        "training": "structures devices distributed files checkpoint threads ops.tensors",
        "evaluation": (
            "structures ops distributed files outputs progress models.postprocess models.modes"
        ),
        "checkpoint": "structures distributed files text_files",
        "zoo": "structures distributed files spelling",
        "pictures": "files outputs",
        "visualize": "structures",
        "report": "evaluation data images profiling pictures visualize structures files outputs",
        "predict": (
            "arguments models images ops pictures ranges runtime score_thresholds visualize "
            "spelling structures files outputs text_files"
        ),
        "profiling": "models images ops structures files devices versions",
        "runtime": "threads",
        "export": "models layers runtime images ops outputs structures files versions",
        "serve": "images predict runtime structures score_thresholds spelling visualize",
        "launch": "devices distributed exit_codes option_groups threads",
    }.items()
}
ALLOWED["builders"] = set(ALLOWED)
ALLOWED["jobs"] = set(ALLOWED)
ALLOWED["__init__"] = set(ALLOWED)
ALLOWED["printing"] = {
    "jobs", "evaluation", "predict", "report", "runtime", "data", "profiling", "exit_codes",
}  # fmt: skip
ALLOWED["commands"] = set(ALLOWED)
ALLOWED["cli"] = set(ALLOWED)
ALLOWED["__main__"] = {"cli"}


def part_of(module: str) -> str:
    """Return the part of a dotted name inside the package; the package is `__init__`."""
    return module.split(".")[0] or "__init__"


def imported_modules(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every import from the package, inside functions too.

    Args:
        package: dotted package of the module, against which relative imports are resolved.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base]).rstrip(".")
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name == PACKAGE or name.startswith(f"{PACKAGE}."):
                yield node.lineno, name.removeprefix(PACKAGE).removeprefix(".")


def is_allowed(part: str, module: str, parts: set[str]) -> bool:
    """Whether `part` may import `module`; a name that is no part is in `__init__`."""
    target = part_of(module) if part_of(module) in parts else "__init__"
    if target == part:
        return True
    return any(
        target == rule or module == rule or module.startswith(f"{rule}.") for rule in ALLOWED[part]
    )


def violations(source: Path) -> list[str]:
    """Return a line for each import under `source` that the table forbids."""
    files = sorted(source.rglob("*.py"))
    parts = {file.relative_to(source).with_suffix("").parts[0] for file in files} | set(ALLOWED)
    found = []
    for file in files:
        relative = file.relative_to(source)
        part = relative.with_suffix("").parts[0]
        if part not in ALLOWED:
            found.append(
                f"{file}:1: the part {part!r} is not in the table of {Path(__file__).name}"
            )
            continue
        package = ".".join([PACKAGE, *relative.parent.parts])
        for line, module in imported_modules(ast.parse(file.read_text("utf-8")), package):
            if not is_allowed(part, module, parts):
                rule = ", ".join(sorted(ALLOWED[part])) or "nothing"
                found.append(
                    f"{file}:{line}: {part} imports {PACKAGE}.{module}, but may import only: {rule}"
                )
    return found


def test_parts_follow_the_import_table() -> None:
    found = violations(SOURCE)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(("file", "code", "forbidden"), [
    ("ops/boxes.py", "from centernet2.structures import Target", True),
    ("ops/boxes.py", "from .nms import nms", False),
    ("ops/boxes.py", "from ..layers import norm", True),
    ("models/necks/fpn.py", "from ...layers.norm import Norm", False),
    ("models/necks/fpn.py", "from ...config import Config", True),
    ("models/__init__.py", "from .detector import Detector", False),
    ("training/loop.py", "def f():\n    import centernet2.data.loader", True),
    ("training/loop.py", "from centernet2 import data", True),
    ("training/loop.py", "from centernet2 import load_config", True),
    ("predict/predictor.py", "from ..images.resize import make_test_resize", False),
    ("evaluation/scoring.py", "from ..models import modes", False),
    ("predict/predictor.py", "from ..data.readers.coco import load_coco", True),
    ("builders.py", "from . import config, training", False),
    ("builders.py", "from .cli import main", True),
    ("__main__.py", "from .cli import main", False),
    ("helpers.py", "import torch", True),
    ("data/readers/coco.py", "import numpy as np, centernet2_extras", False),
])  # fmt: skip
def test_each_import_form_is_checked(tmp_path: Path, file: str, code: str, forbidden: bool) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    assert bool(violations(tmp_path)) is forbidden


# what models/ leaves to kernels/
FORBIDDEN_IN_MODELS = {
    r"\btorch\.compiler\b": "compilers are kernels/capabilities.py's concern",
    r"\bdevice\.type\b": "kernels/dispatch.py chooses by device",
}


KEY = r"\b(MODEL|INPUT|SOLVER|TEST|DATALOADER|DATASETS)\.[A-Z]"
WITHOUT_KEYS = ("models", "layers", "ops", "kernels", "training")


def lines_with(pattern: str, folder: str, advice: str) -> list[str]:
    """Return a line for each line below a folder of the package that matches."""
    return [
        f"{path}:{number}: {advice}"
        for path in sorted((SOURCE / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if re.search(pattern, line)
    ]


@pytest.mark.parametrize("pattern", FORBIDDEN_IN_MODELS)
def test_models_know_no_compilers_or_devices(pattern: str) -> None:
    lines = lines_with(pattern, "models", FORBIDDEN_IN_MODELS[pattern])
    assert not lines, "\n" + "\n".join(lines)


@pytest.mark.parametrize("folder", WITHOUT_KEYS)
def test_models_and_training_know_no_keys(folder: str) -> None:
    lines = lines_with(KEY, folder, "name the argument; builders/ add the key")
    assert not lines, "\n" + "\n".join(lines)


def test_config_imports_only_option_groups() -> None:
    others = [
        f"{path.name}:{line}: {module}"
        for path in sorted((SOURCE / "config").glob("*.py"))
        for line, module in imported_modules(
            ast.parse(path.read_text("utf-8")), f"{PACKAGE}.config"
        )
        if part_of(module) not in ("config", "ranges", "spelling", "text_files", "yaml_files")
        and not module.endswith("Options")
    ]
    assert not others, "\n" + "\n".join(others)


def modules_named(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Return the dotted names that an import statement may stand for."""
    names = [alias.name for alias in node.names]
    return (
        [f"{node.module}.{name}" for name in names] if isinstance(node, ast.ImportFrom) else names
    )


def test_tests_import_only_helpers() -> None:
    tests = Path(__file__).parent
    lines = [
        f"{path.relative_to(tests)}:{node.lineno}: move what {name} shares to tests/helpers/"
        for path in sorted(tests.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in modules_named(node)
        if re.search(r"(^|\.)(test_\w+|conftest)(\.|$)", name)
    ]
    assert not lines, "\n" + "\n".join(lines)
