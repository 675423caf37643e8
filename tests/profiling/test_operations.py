"""Operations: counted by stage, in proportion to the work."""

from functools import partial

from centernet2.builders.detector.network import build_on_meta
from centernet2.config import load_config
from centernet2.profiling.operations import count_operations, input_size
from centernet2.profiling.records import Peak, ShapeMetrics, Spread

STAGES = ["backbone", "neck", "first_stage_head", "roi_heads_boxes", "roi_heads_masks"]


def test_operations_grow_with_images_and_selections() -> None:
    config = load_config("CenterNet2_R18_small", ["MODEL.MASK_ON", "True"])
    count = partial(count_operations, build_on_meta(config))
    one = count((1, 64, 96), proposals=10, detections=5)
    two = count((2, 64, 96), proposals=30, detections=20)
    ratios = {stage: two[stage] / one[stage] for stage in two}
    assert ratios == dict(zip(STAGES, (2, 2, 2, 3, 4), strict=True))


def test_input_is_padded_as_the_detector_pads_it() -> None:
    assert input_size(build_on_meta(load_config("CenterNet2_R18_small"))) == (224, 320)
    static = ["INPUT.STATIC_SHAPES", "True"]
    plan = build_on_meta(load_config("CenterNet2_R18_small", static))
    assert input_size(plan) in plan.preprocess.fixed_sizes


def test_indivisible_counts_are_shared() -> None:
    plan = build_on_meta(load_config("CenterNet2_R18_small"))
    one = count_operations(plan, (1, 64, 96), proposals=7, detections=0)
    three = count_operations(plan, (3, 64, 96), proposals=7, detections=0)
    assert three["roi_heads_boxes"] == one["roi_heads_boxes"]


def test_speed_follows_from_operations_and_time() -> None:
    second = Spread(2.0, 1.0, 3.0)
    metrics = ShapeMetrics(
        batch_size=1, height=64, width=64, seconds=second, stages={}, images_per_second=0.5,
        peak_memory=0, selected=None, operations={"backbone": 30, "neck": 10},
    )  # fmt: skip
    faster = metrics.against(Peak(80.0, 16))
    assert (faster.operations_per_second, faster.share_of_peak) == (20.0, 0.25)
