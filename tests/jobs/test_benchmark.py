"""`centernet2 benchmark`: which time goes to which stage, which work is counted, what is written and refused."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from centernet2 import cli
from centernet2.builders.loading import build_model
from centernet2.checkpoint import Checkpoint, save_checkpoint
from centernet2.config import load_config
from centernet2.jobs import InferenceOptions, benchmark
from centernet2.models import postprocess
from centernet2.models.detector import Detector
from centernet2.profiling import matmul_peak, stage_clock
from centernet2.profiling.costs import count_operations, measure, plan_detector
from centernet2.profiling.matmul_peak import Peak, measure_peak
from centernet2.profiling.meter import WARM_UP, Figures, Meter, Spread
from centernet2.profiling.stage_clock import StageClock
from centernet2.profiling.workload import (
    OBJECTS,
    count_load,
    fill_selections,
    make_images,
    make_targets,
)
from centernet2.structures import ModelInfo
from tests.models.test_device import build

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


class Hours:
    """A clock that only goes on when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(stage_clock, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def spend(self, hours: float) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            self.now += hours

        return hook

    def around(self, function: Callable[..., Any], hours: float) -> Callable[..., Any]:
        def slower(*arguments: Any, **options: Any) -> Any:
            self.now += hours
            return function(*arguments, **options)

        return slower


def test_the_time_of_each_part_goes_to_its_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    model, hours = build("masks").eval(), Hours(monkeypatch)
    first, second = model.proposal_generator, model.roi_heads
    assert second is not None and second.mask_branch is not None
    parts = [
        model.preprocess,
        model.backbone,
        model.neck,
        first.head,
        second.stages[0],
        second.mask_branch.head,
    ]
    for part, time in zip(parts, (1, 2, 4, 8, 16, 32), strict=True):
        part.register_forward_pre_hook(hours.spend(time))
    second.mask_branch.pooler.register_forward_hook(hours.spend(64))
    first.decoder.register_forward_hook(hours.spend(128))
    monkeypatch.setattr(second, "selection", hours.around(second.selection, 256))
    monkeypatch.setattr(
        postprocess, "paste_box_masks", hours.around(postprocess.paste_box_masks, 512)
    )
    clock = StageClock(model)
    assert clock.stages == STAGES["masks"]
    with torch.inference_mode():
        seconds = clock.measure(lambda: model(make_images(1, (64, 96))))
        again = clock.measure(lambda: model(make_images(1, (64, 96))))
    assert again == seconds  # nothing of the first pass is left
    assert list(seconds.values()) == [1, 2, 4, 8, 128, 16, 32 + 64, 256 + 512]


def test_the_stages_of_a_training_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model, hours = build("two-stage"), Hours(monkeypatch)
    for part, time in zip(
        [model.preprocess, model.proposal_generator, model.roi_heads], (1, 2, 4), strict=True
    ):
        assert part is not None
        part.register_forward_pre_hook(hours.spend(time))
    clock, images = StageClock(model), make_images(1, (64, 96))

    def step() -> None:
        model(images, make_targets(model, images))
        hours.now += 8

    seconds = clock.measure(step)
    expected = {
        "preprocess": 1,
        "backbone": 0,
        "neck": 0,
        "first_stage": 2,
        "roi_heads": 4,
        "backward": 8,
    }
    assert seconds == expected


def test_the_device_is_waited_for_after_each_stage_and_only_while_measuring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(stage_clock, "synchronize", waited.append)
    model = build("one-stage").eval()
    clock, images = StageClock(model), make_images(1, (64, 96))
    with torch.inference_mode():
        model(images)
        assert waited == []
        clock.measure(lambda: model(images))
    assert waited == [torch.device("cpu")] * (1 + len(STAGES["one-stage"]))


def test_a_compiled_model_keeps_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Module, "compile", lambda module: compile_eagerly(module))
    meter = Meter(build("two-stage").eval(), dtype="fp32", compile=True, runs=1)
    for width in (64, 96):
        assert min(stage.median for stage in meter.measure((1, 64, width)).stages.values()) > 0


def compile_eagerly(module: nn.Module) -> None:
    module._compiled_call_impl = torch.compile(module._call_impl, backend="eager")


@pytest.mark.parametrize("kind", STAGES)
def test_selections_are_full_with_untrained_weights(kind: str) -> None:
    model, images = build(kind).eval(), make_images(2, (64, 96))
    fill_selections(model, images)
    load = count_load(model, images)
    first = model.proposal_generator
    if kind == "one-stage":
        assert load.proposals == load.detections > 0
    else:
        assert model.roi_heads is not None
        selection = model.roi_heads.selection
        selection.options = replace(selection.options, detections_per_image=7)
        fill_selections(model, images)
        assert count_load(model, images).detections == 2 * 7
        assert load.proposals >= 2 * first.decoder.options.inference.post_nms_topk


def test_objects_fit_into_the_image_and_have_masks() -> None:
    model, images = build("masks"), make_images(2, (64, 96))
    assert torch.equal(images[0], make_images(1, (64, 96))[0]) and not torch.equal(
        images[0], images[1]
    )
    for target in make_targets(model, images):
        boxes = target["boxes"]
        assert len(boxes) == OBJECTS and (boxes[:, 2:] > boxes[:, :2]).all()
        assert boxes.min() >= 0 and boxes[:, [0, 2]].max() <= 96 and boxes[:, [1, 3]].max() <= 64
        width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(dim=1)
        assert (
            (target["masks"].sum(dim=(1, 2)) - width * height).abs() <= width + height + 1
        ).all()


@pytest.mark.parametrize("options", [(), ("MODEL.MASK_ON", "True")])
def test_operations_are_those_of_the_table_of_costs(options: tuple[str, ...]) -> None:
    config = load_config(SMALL, options)
    cost = measure(config)
    result = benchmark.benchmark(SMALL, *options, inference=CPU, runs=1)
    figures = result.figures[0]
    assert (figures.height, figures.width) == (cost.height, cost.width)
    assert figures.load is not None and figures.operations is not None
    assert (
        figures.load.proposals == config.decoder.inference.post_nms_topk
    )  # nothing ties: as many as in the table
    assert list(figures.operations) == COUNTED[: 5 if options else 4]
    assert round(sum(figures.operations.values()) / 1e9, 1) == cost.gflops


def test_operations_grow_with_images_regions_and_objects() -> None:
    plan = plan_detector(load_config(SMALL, ["MODEL.MASK_ON", "True"]))
    count = partial(count_operations, plan)
    one = count((1, 64, 96), regions=10, objects=5)
    two = count((2, 64, 96), regions=30, objects=20)
    assert {stage: two[stage] / one[stage] for stage in COUNTED} == dict(
        zip(COUNTED, (2, 2, 2, 3, 4), strict=True)
    )


def test_speed_and_share_follow_from_operations_and_time() -> None:
    second = Spread(2.0, 1.0, 3.0)
    figures = Figures(
        batch_size=1, height=64, width=64, seconds=second, stages={}, images_per_second=0.5, peak_memory=0,
        load=None, operations={"backbone": 30, "neck": 10},
    )  # fmt: skip
    found = figures.against(Peak(80.0, 16))
    assert (found.operations_per_second, found.share_of_peak) == (20.0, 0.25)


def test_the_peak_is_the_best_of_the_sizes_that_are_not_too_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = {16: 0.01, 32: 0.01, 64: 1.0, 128: 1e-9}
    monkeypatch.setattr(matmul_peak, "SIDES", tuple(seconds))
    monkeypatch.setattr(matmul_peak, "_product_seconds", lambda side, *_: seconds[side])
    assert measure_peak(torch.device("cpu"), torch.float32) == Peak(2 * 32**3 / 0.01, 32)


def test_a_peak_below_the_model_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for speed, warnings in ((1e20, 0), (1.0, 1)):
        monkeypatch.setattr(matmul_peak, "measure_peak", lambda *_, speed=speed: Peak(speed, 16))
        benchmark.benchmark(SMALL, inference=CPU, runs=1, sizes=["64x64"])
        assert caplog.text.count("measure again") == warnings


@pytest.mark.parametrize("kind", ["two-stage", "one-stage"])
def test_the_command(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = {"two-stage": SMALL, "one-stage": "CenterNet-FPN_R50_1x"}[kind]
    file = tmp_path / "new" / "speed.json"
    run("MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64", "--config-file", name, "--device", "cpu",
        "--dtype", "bf16", "--runs", "2", "--batch-sizes", "2", "1", "--sizes", "64x96", "64x64",
        "--output", str(file))  # fmt: skip
    written = json.loads(file.read_text())
    assert (written["config"], written["weights"], written["work"]) == (name, None, "inference")
    assert (written["device"], written["dtype"], written["compiled"]) == ("cpu", "bf16", False)
    assert (written["warm_up"], written["runs"]) == (WARM_UP, 2)
    shapes = [(each["batch_size"], each["height"], each["width"]) for each in written["figures"]]
    assert sorted(shapes) == [(1, 64, 64), (1, 64, 96), (2, 64, 64), (2, 64, 96)]
    assert shapes[0] == (1, 64, 64) and shapes[-1] == (2, 64, 96)  # memory only grows
    for each in written["figures"]:
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


def test_a_training_step_has_neither_operations_nor_selections(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("MODEL.MASK_ON", "True", "--config-file", SMALL, "--device", "cpu", "--runs", "1", "--sizes", "64x96",
        "--training", "--output", str(tmp_path / "speed.json"))  # fmt: skip
    figures = json.loads((tmp_path / "speed.json").read_text())["figures"][0]
    assert list(figures["stages"]) == [
        "preprocess",
        "backbone",
        "neck",
        "first_stage",
        "roi_heads",
        "backward",
    ]
    assert [figures[key] for key in ("load", "operations", "share_of_peak")] == [None] * 3
    assert "training in fp32" in capsys.readouterr().out


def test_a_checkpoint_needs_no_configuration(tmp_path: Path) -> None:
    config = load_config(
        SMALL, ["MODEL.ROI_HEADS.NUM_CLASSES", "2", "MODEL.CENTERNET.NUM_CLASSES", "2"]
    )
    file = tmp_path / "model.pth"
    info = ModelInfo(class_names=("red", "white"), config=config.to_yaml(), config_name="cells")
    save_checkpoint(file, Checkpoint(build_model(config).state_dict(), info, 1, {}))
    result = benchmark.benchmark(weights=file, inference=CPU, runs=1, sizes=["64x64"])
    assert (result.config, result.weights) == ("cells", str(file))
    again = benchmark.benchmark(SMALL, weights=file, inference=CPU, runs=1, sizes=["64x64"])
    assert again.config == SMALL and again.figures[0].operations == result.figures[0].operations


def test_the_number_of_threads_is_that_of_the_measurement_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, during = torch.get_num_threads(), []

    def load(*_: Any, **__: Any) -> Detector:
        during.append(torch.get_num_threads())
        raise ValueError("enough")

    monkeypatch.setattr(benchmark, "_load", load)
    with pytest.raises(ValueError, match="enough"):
        benchmark.benchmark(SMALL, threads=before + 1)
    assert (during, torch.get_num_threads()) == ([before + 1], before)


def test_what_does_not_fit_into_memory_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Meter.measure

    def limited(meter: Meter, shape: Any, on_pass: Callable[[], None]) -> Figures:
        if shape[0] > 1:
            raise torch.OutOfMemoryError("no memory")
        return usual(meter, shape, on_pass)

    monkeypatch.setattr(Meter, "measure", limited)
    options = {"inference": CPU, "runs": 1, "sizes": ["64x64"]}
    result = benchmark.benchmark(SMALL, batch_sizes=[1, 4], **options)  # type: ignore[arg-type]
    assert [each.batch_size for each in result.figures] == [1]
    with pytest.raises(ValueError, match="no batch fits into the memory of cpu"):
        benchmark.benchmark(SMALL, batch_sizes=[4], **options)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give a model to measure: --config-file NAME, or --weights CHECKPOINT"),
        (("--config-file", SMALL, "--runs", "0"), "--runs has 0; it takes numbers from 1 on"),
        (("--config-file", SMALL, "--threads", "-1"), "--threads has -1"),
        (("--config-file", SMALL, "--batch-sizes", "2", "0"), "--batch-sizes has 0"),
        (("--config-file", SMALL, "--sizes", "640"), "'640'; write HEIGHTxWIDTH such as 800x1216"),
        (
            ("--config-file", SMALL, "--sizes", "64x64", "MODEL.MASK_ON", "True"),
            "KEY VALUE pairs stand before it",
        ),
        (("--config-file", SMALL, "--sizes", "64x8"), "height and width are at least 32"),
        (("--config-file", SMALL, "--dtype", "int8"), "'int8'; choose one of fp32, bf16, fp16"),
        (("--config-file", SMALL, "--device", "cuda:9"), "device 'cuda:9' is not there"),
        (("--config-file", "CenterNet3"), "no packaged configuration of that name"),
        (("--weights", "nothing.pth"), "nothing.pth"),
    ],
)
def test_mistakes_are_one_message_and_exit_code_2(
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
