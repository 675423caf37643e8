"""CenterNet2: probabilistic two-stage object detection (arXiv 2103.07461).

The public names are listed once, in the stub `__init__.pyi`. Type checkers and editors read the
stub; this module imports a name when it is first used, so that `import centernet2` does not import
torch.
"""

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from centernet2.files import name_compiler_cache

__version__ = "0.1.0"


@cache
def _modules() -> dict[str, str]:
    """Read the module of each public name from the imports of the stub."""
    import ast

    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8"))
    return {
        alias.name: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return sorted(_modules())
    if name not in _modules():
        raise AttributeError(f"module 'centernet2' has no attribute '{name}'")
    name_compiler_cache()
    return getattr(import_module(_modules()[name]), name)


def __dir__() -> list[str]:
    return [*sorted(_modules()), "__version__"]
