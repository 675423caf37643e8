"""Figures of a detector on a data set."""

import json
import os
import time
from pathlib import Path

from centernet2 import distributed
from centernet2.build import build_test_transform
from centernet2.config import Config, ConfigError
from centernet2.data.catalog import find_split
from centernet2.data.dataset import DetectionDataset
from centernet2.data.loader import eval_batches
from centernet2.devices import create_accelerator
from centernet2.evaluation.evaluate import evaluate as evaluate_batches
from centernet2.models.detector import Detector
from centernet2.run.models import StrPath, resolve, with_classes


def evaluate(
    model: Detector,
    *,
    data: StrPath | None = None,
    data_path: StrPath | None = None,
    config: Config | StrPath | None = None,
    output_dir: StrPath | None = None,
) -> dict[str, float]:
    """COCO figures of a detector on validation images, {"bbox/AP": per cent, ...}.

    Args:
        model: as `build_model` or `load_model` gives it.
        data, data_path: as for `train`.
        config: settings of sizes, batches and data sets; default: those that the model was built with.
        output_dir: receives predictions.json and metrics.json.
    """
    settings = _settings_of(model) if config is None else resolve(config)
    if "WORLD_SIZE" in os.environ and not distributed.is_distributed():  # started by torchrun
        create_accelerator(next(model.parameters()).device)
    dataset = find_split(
        data=None if data is None else Path(data),
        data_path=None if data_path is None else Path(data_path),
        names=settings.datasets.test,
        split="val",
        masks=settings.model.mask_on,
    )
    with_classes(settings, len(dataset.class_names), owner=dataset.name)
    return evaluate_dataset(model, dataset, settings, None if output_dir is None else Path(output_dir))


def evaluate_dataset(
    model: Detector, dataset: DetectionDataset, config: Config, output: Path | None
) -> dict[str, float]:
    """Figures of a detector on one data set, shared among all processes; speed.json says how long it took."""
    started = time.perf_counter()
    batches = eval_batches(
        dataset,
        build_test_transform(config),
        batch_size=config.run.test_batch_size,
        num_workers=config.loader.num_workers,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
    )
    limit = config.centernet.post_nms_topk_test if model.roi_heads is None else config.roi_heads.detections_per_image
    metrics = evaluate_batches(model, dataset, batches, max_detections=limit, output_dir=output)
    if output is not None and distributed.is_main_process():
        seconds = time.perf_counter() - started
        speed = {"images": len(dataset), "seconds": seconds, "images_per_second": len(dataset) / seconds}
        (output / "speed.json").write_text(json.dumps(speed) + "\n", encoding="utf-8")
    return metrics


def _settings_of(model: Detector) -> Config:
    if not isinstance(model.settings, Config):
        raise ConfigError("the model was not made by build_model: pass the settings to use as `config`")
    return model.settings
