"""The command `benchmark`: what it measures, writes and refuses."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from centernet2 import cli
from centernet2.builders.detector.loading import build_model
from centernet2.builders.detector.model_costs import count_cost
from centernet2.checkpoint import Checkpoint, save_checkpoint
from centernet2.config import load_config
from centernet2.jobs import InferenceOptions, benchmark
from centernet2.models.detector import Detector
from centernet2.profiling import matmul_peak
from centernet2.profiling.meter import WARM_UP_PASSES, Meter
from centernet2.profiling.records import Peak, ShapeMetrics
from centernet2.structures import ModelInfo

TWO_STAGES = [
    "preprocess", "backbone", "neck", "first_stage_head", "first_stage_decoding", "roi_heads_boxes",
]  # fmt: skip
STAGES = {
    "two-stage": [*TWO_STAGES, "postprocess"],
    "masks": [*TWO_STAGES, "roi_heads_masks", "postprocess"],
    "one-stage": [*TWO_STAGES[:5], "postprocess"],
}
COUNTED = ["backbone", "neck", "first_stage_head", "roi_heads_boxes", "roi_heads_masks"]
SMALL = "CenterNet2_R18_small"
CPU = InferenceOptions(device="cpu")


@pytest.fixture(autouse=True)
def quick_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul_peak, "SIDES", (16, 32))


@pytest.mark.parametrize("options", [(), ("MODEL.MASK_ON", "True")])
def test_operations_equal_the_cost_table(options: tuple[str, ...]) -> None:
    config = load_config(SMALL, options)
    cost = count_cost(config)
    result = benchmark.benchmark(SMALL, *options, inference=CPU, runs=1)
    metrics = result.shapes[0]
    assert (metrics.height, metrics.width) == (cost.height, cost.width)
    assert metrics.selected is not None and metrics.operations is not None
    # no scores tie, so the counts are those of the table
    assert metrics.selected.proposals == config.decoder.inference.post_nms_topk
    assert list(metrics.operations) == COUNTED[: 5 if options else 4]
    assert round(sum(metrics.operations.values()) / 1e9, 1) == cost.gflops


def test_peak_below_the_model_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for speed, warnings in ((1e20, 0), (1.0, 1)):
        monkeypatch.setattr(matmul_peak, "measure_peak", lambda *_, speed=speed: Peak(speed, 16))
        benchmark.benchmark(SMALL, inference=CPU, runs=1, sizes=["64x64"])
        assert caplog.text.count("measure again") == warnings


@pytest.mark.parametrize("kind", ["two-stage", "one-stage"])
def test_benchmark_command(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = {"two-stage": SMALL, "one-stage": "CenterNet-FPN_R50_1x"}[kind]
    file = tmp_path / "new" / "speed.json"
    small = ["MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"]
    options = [
        "--device", "cpu", "--dtype", "bf16", "--runs", "2", "--batch-sizes", "2", "1",
        "--sizes", "64x96", "64x64",
    ]  # fmt: skip
    run(*small, "--config-file", name, *options, "--output", str(file))
    written = json.loads(file.read_text())
    assert (written["config"], written["weights"], written["work"]) == (name, None, "inference")
    assert (written["device"], written["dtype"], written["compiled"]) == ("cpu", "bf16", False)
    assert (written["warm_up"], written["runs"]) == (WARM_UP_PASSES, 2)
    shapes = [(each["batch_size"], each["height"], each["width"]) for each in written["shapes"]]
    assert sorted(shapes) == [(1, 64, 64), (1, 64, 96), (2, 64, 64), (2, 64, 96)]
    assert shapes[0] == (1, 64, 64) and shapes[-1] == (2, 64, 96)  # the largest is last
    for each in written["shapes"]:
        assert list(each["stages"]) == STAGES[kind]
        assert set(each["seconds"]) == {"median", "min", "max"}
        assert each["images_per_second"] == pytest.approx(
            each["batch_size"] / each["seconds"]["median"]
        )
        assert each["share_of_peak"] == pytest.approx(
            each["operations_per_second"] / written["peak"]["operations_per_second"]
        )
    shown = capsys.readouterr().out
    assert "untrained" in shown and "inference in bf16" in shown and "64 x 96, batch of 2" in shown
    assert all(stage.replace("_", " ").replace("roi", "RoI") in shown for stage in STAGES[kind])


def test_training_step_counts_no_flops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--device", "cpu", "--runs", "1", "--sizes", "64x96", "--training"]
    masks, output = ("MODEL.MASK_ON", "True"), str(tmp_path / "speed.json")
    run(*masks, "--config-file", SMALL, *options, "--output", output)
    metrics = json.loads((tmp_path / "speed.json").read_text())["shapes"][0]
    stages = "preprocess backbone neck first_stage roi_heads backward"
    assert list(metrics["stages"]) == stages.split()
    assert [metrics[key] for key in ("selected", "operations", "share_of_peak")] == [None] * 3
    assert "training in fp32" in capsys.readouterr().out


def test_checkpoint_needs_no_config(tmp_path: Path) -> None:
    config = load_config(
        SMALL, ["MODEL.ROI_HEADS.NUM_CLASSES", "2", "MODEL.CENTERNET.NUM_CLASSES", "2"]
    )
    file = tmp_path / "model.pth"
    info = ModelInfo(class_names=("red", "white"), config=config.to_yaml(), config_name="cells")
    save_checkpoint(file, Checkpoint(build_model(config).state_dict(), info, 1, {}))
    result = benchmark.benchmark(weights=file, inference=CPU, runs=1, sizes=["64x64"])
    assert (result.config, result.weights) == ("cells", str(file))
    again = benchmark.benchmark(SMALL, weights=file, inference=CPU, runs=1, sizes=["64x64"])
    assert again.config == SMALL and again.shapes[0].operations == result.shapes[0].operations


def test_number_of_threads_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    before, during = torch.get_num_threads(), []

    def load(*_: Any, **__: Any) -> Detector:
        during.append(torch.get_num_threads())
        raise ValueError("enough")

    monkeypatch.setattr(benchmark, "_load", load)
    with pytest.raises(ValueError, match="enough"):
        benchmark.benchmark(SMALL, threads=before + 1)
    assert (during, torch.get_num_threads()) == ([before + 1], before)


def test_shapes_too_large_for_memory_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Meter.measure

    def limited(meter: Meter, shape: Any, on_pass: Callable[[], None]) -> ShapeMetrics:
        if shape[0] > 1:
            raise torch.OutOfMemoryError("no memory")
        return usual(meter, shape, on_pass)

    monkeypatch.setattr(Meter, "measure", limited)
    options = {"inference": CPU, "runs": 1, "sizes": ["64x64"]}
    result = benchmark.benchmark(SMALL, batch_sizes=[1, 4], **options)  # type: ignore[arg-type]
    assert [each.batch_size for each in result.shapes] == [1]
    with pytest.raises(ValueError, match="no batch fits into the memory of cpu"):
        benchmark.benchmark(SMALL, batch_sizes=[4], **options)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
@pytest.mark.parametrize(("options", "message"), [
    ((), "give a model to measure: --config-file NAME, or --weights CHECKPOINT"),
    (("--config-file", SMALL, "--runs", "0"), "--runs is 0; it takes a whole number from 1"),
    (("--config-file", SMALL, "--threads", "-1"), "--threads is -1; it takes"),
    (("--config-file", SMALL, "--batch-sizes", "2", "0"), "--batch-sizes is (2, 0); it"),
    (("--config-file", SMALL, "--sizes", "640"), "--sizes is '640'; write HEIGHTxWIDTH in pixels"),
    (("--config-file", SMALL, "--sizes", "64x64", "MODEL.MASK_ON", "True"),
     "put MODEL.MASK_ON and its value before --sizes"),
    (("--config-file", SMALL, "--sizes", "64x8"), "height and width are at least 32"),
    (("--config-file", SMALL, "--dtype", "int8"), "'int8'; choose one of fp32, bf16, fp16"),
    (("--config-file", SMALL, "--device", "cuda:9"), "device 'cuda:9' is not available"),
    (("--config-file", "CenterNet3"), "no packaged config of that name"),
    (("--weights", "nothing.pth"), "nothing.pth"),
])  # fmt: skip
def test_errors_exit_with_code_2(
    options: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sys, "argv", ["centernet2", "benchmark", *options])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert message in caplog.records[-1].getMessage()


def run(*arguments: str) -> None:
    cli.app(["benchmark", *arguments], exit_on_error=False, result_action="return_value")
