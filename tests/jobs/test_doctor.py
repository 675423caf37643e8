"""What `centernet2 doctor` says."""

import pytest

from centernet2.jobs.doctor import doctor


def test_every_line_is_there() -> None:
    lines = {line[:13].strip(): line for line in doctor(device="cpu")}
    assert {"python", "torch", "torchvision", "devices", "distributed", "sync bn", "step"} <= set(
        lines
    )
    assert lines["nms"].endswith("torchvision's kernel")
    for operator in ("roi_align", "deform_conv2d"):  # faster than torchvision's on the CPU
        assert lines[operator].endswith("plain tensor operations on the device")
    assert "used: cpu" in lines["devices"] and lines["distributed"].endswith("for cpu: gloo")
    assert "losses finite" in lines["step"]


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="device 'cuda:9' is not there; present: cpu"):
        doctor(device="cuda:9")
