"""The peak of matrix products."""

import pytest
import torch

from centernet2.profiling import matmul_peak
from centernet2.profiling.matmul_peak import measure_peak
from centernet2.profiling.records import Peak


def test_peak_is_the_best_of_fast_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {16: 0.01, 32: 0.01, 64: 1.0, 128: 1e-9}
    monkeypatch.setattr(matmul_peak, "SIDES", tuple(seconds))
    monkeypatch.setattr(matmul_peak, "_product_seconds", lambda side, *_: seconds[side])
    assert measure_peak(torch.device("cpu"), torch.float32) == Peak(2 * 32**3 / 0.01, 32)
