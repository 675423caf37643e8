"""Run the command where PyTorch, and what needs it, cannot be imported.

python -m tests.helpers.without_torch predict ...
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# dependencies of the package that docker/requirements.txt does not have
ABSENT = (
    "accelerate", "filelock", "gdown", "onnx", "onnxscript", "psutil", "safetensors",
    "tensorboard", "timm", "torch", "torchcodec", "torchvision",
)  # fmt: skip


class Blocker(MetaPathFinder):
    """Refuses to import what is absent."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


if __name__ == "__main__":
    sys.meta_path.insert(0, Blocker())
    from centernet2.cli import main

    main()
