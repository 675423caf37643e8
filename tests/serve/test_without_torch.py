"""The service and its loading of exported files import no PyTorch."""

import subprocess
import sys

CODE = """
import sys
sys.modules["torch"] = sys.modules["torchvision"] = None
import centernet2.builders.service.serving
import centernet2.serve.application
import centernet2.serve.server
"""


def test_service_is_imported_without_torch() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)
