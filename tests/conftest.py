"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

# before torch is imported: tests side by side have a thread each
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["CENTERNET2_THREADS"] = "fixed"  # equal numbers need an equal number of threads

# the folder of the tests that need extra golden numbers or real images
VARIABLE = "CENTERNET2_TEST_DATA"
SHARED = Path(os.environ.get(VARIABLE) or Path(__file__).parents[2] / "shared").resolve()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the optional folder of extra golden numbers and real data."""
    if not SHARED.is_dir():
        pytest.skip(
            f"the optional folder {SHARED} (extra golden numbers, real images; {VARIABLE} names "
            "another one) is not there"
        )
    return SHARED
