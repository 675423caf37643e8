"""Equal metrics for batches of 1, 2 and 8, in one process and in two."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

import centernet2
from centernet2 import distributed
from centernet2.builders.data.evaluation_data import find_validation_data
from centernet2.builders.detector.loading import config_of
from centernet2.builders.evaluation.evaluator import evaluate_dataset
from centernet2.evaluation.scoring import EvaluationInterrupted
from centernet2.evaluation.stream import ImageResult, ResultStream
from tests.helpers.evaluation import SMALL_INPUT, write_noise_data

CLASSES = ["MODEL.ROI_HEADS.NUM_CLASSES", "3", "MODEL.CENTERNET.NUM_CLASSES", "3"]


def annotate(folder: Path) -> None:
    """Turn some detections into ground truth, so that the metrics are not zero."""
    path = folder / "annotations" / "instances_val.json"
    detections = json.loads((folder / "batch1_of1" / "predictions.json").read_text())[::7]
    rest = {"area": 500, "iscrowd": 0}
    annotations = [{**each, "id": i, **rest} for i, each in enumerate(detections, 1)]
    path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": annotations}))


def evaluate_config(folder: Path, batch_size: int) -> dict[str, float]:
    """Evaluate a detector with seeded random weights."""
    torch.manual_seed(0)
    overrides = [
        *SMALL_INPUT, *CLASSES, "MODEL.CENTERNET.INFERENCE_TH", "0.0",
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0", "MODEL.ROI_HEADS.NMS_THRESH_TEST", "0.99",
        "TEST.IMS_PER_BATCH", str(batch_size),
    ]  # fmt: skip
    config = centernet2.load_config("CenterNet2_R18_small", overrides)
    output = folder / f"batch{batch_size}_of{distributed.world_size()}"
    return centernet2.evaluate(centernet2.build_model(config), data=folder, output_dir=output)


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    metrics = evaluate_config(Path(folder), 2)
    (Path(folder) / f"process{rank}.json").write_text(json.dumps(metrics))
    check_common_interruption(rank, Path(folder))
    check_gathering(rank, Path(folder))
    torch.distributed.destroy_process_group()


def check_common_interruption(rank: int, folder: Path) -> None:
    """Stop one process, and expect that all of them stop."""
    model = centernet2.build_model(centernet2.load_config("CenterNet2_R18_small", CLASSES))
    config = config_of(model.info)
    dataset = find_validation_data(folder, None, config.datasets, masks=False)
    with pytest.raises(EvaluationInterrupted):
        evaluate_dataset(model, dataset, config, None, interrupted=lambda: rank == 1)


def check_gathering(rank: int, folder: Path) -> None:
    """Gather on the main process alone, from a common folder and from one of each process."""
    for place in (folder / "common", folder / f"own{rank}"):
        stream = ResultStream(place)
        for image in (rank, rank + 2):
            stream.write(image, ImageResult(np.full((1, 7), float(image)), None, None))
        gathered = stream.gather()
        assert [*gathered] == ([0, 1, 2, 3] if rank == 0 else [])
        assert all(each.results[0, 6] == image for image, each in gathered.items())
        stream.close(complete=True)


def test_metrics_do_not_depend_on_batches(tmp_path: Path) -> None:
    write_noise_data(tmp_path)
    evaluate_config(tmp_path, 1)
    annotate(tmp_path)
    one = evaluate_config(tmp_path, 1)
    assert 0 < one["bbox/AP"] < 100  # a comparison of zeros would prove nothing
    mp.spawn(work, (str(tmp_path),), nprocs=2)
    others = [evaluate_config(tmp_path, 2), evaluate_config(tmp_path, 8)]
    others += [json.loads((tmp_path / f"process{rank}.json").read_text()) for rank in (0, 1)]
    for metrics in others:
        assert metrics == pytest.approx(one, abs=1e-6, nan_ok=True)
    counts = [len(json.loads(file.read_text())) for file in tmp_path.glob("*/predictions.json")]
    assert len(counts) == 4 and len(set(counts)) == 1 and counts[0] > 100
