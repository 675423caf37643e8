"""Metrics as tables for a terminal."""

import io
import math

import numpy as np
from rich.console import Console

from centernet2.evaluation import CalibrationError
from centernet2.report.tables import calibration_table, metrics_table


def test_table_lists_weakest_classes_first() -> None:
    metrics = {"bbox/AP": 40.126, "bbox/AR100": 50.0, "bbox/APs": math.nan}
    metrics |= {f"bbox/AP/class-{i}": float(i) for i in range(100)} | {"bbox/AP/absent": math.nan}
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(metrics_table(metrics))
    text = console.export_text()
    assert "40.13" in text and "50.00" in text
    assert "class-89" in text and "class-90" not in text and "absent" not in text
    assert np.all([text.index(f"class-{i} ") < text.index(f"class-{i + 1} ") for i in range(29)])


def test_table_of_pascal_voc_has_the_classes() -> None:
    metrics = {"bbox/AP": 40.0, "bbox/AR100": 50.0, "bbox/AP/cat": 40.0}
    metrics |= {"voc/AP50": 60.0, "voc/AP50_2007": 61.0, "voc/AP50/cat": 62.0}
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(metrics_table(metrics))
    own = console.export_text().partition("Pascal VOC")[2]
    assert "61.00" in own and "62.00" in own.partition("AP50 by class")[2]


def test_calibration_error_of_no_detections_is_a_dash() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    errors = {"score": CalibrationError(10, 2.5), "class": CalibrationError(math.nan, math.nan)}
    console.print(calibration_table(errors))
    text = console.export_text()
    assert "2.50 %" in text and "nan" not in text
