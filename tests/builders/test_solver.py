"""The number format of a training run."""

import pytest
import torch

from centernet2.builders import solver
from centernet2.builders.solver import choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("fast", [True, False])
def test_slow_bf16_is_logged(
    fast: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(solver, "is_bf16_fast", lambda device: fast)
    assert choose_precision(CPU, amp=True, dtype="bf16") == "bf16"
    assert ("emulates bf16, which is slow: set SOLVER.AMP.ENABLED False" in caplog.text) is not fast


def test_mixed_precision_on_the_cpu_is_bf16(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_precision(CPU, amp=False, dtype="fp16") == "fp32"
    assert choose_precision(CPU, amp=True, dtype="bf16") == "bf16"
    assert choose_precision(CPU, amp=True, dtype="fp16") == "bf16"
    assert "not SOLVER.AMP.DTYPE fp16" in caplog.text
    with pytest.raises(ValueError, match=r"SOLVER.AMP.DTYPE is 'half'; choose bf16 or fp16"):
        choose_precision(CPU, amp=True, dtype="half")
