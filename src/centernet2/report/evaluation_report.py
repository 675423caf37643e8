"""The page about an evaluation, from what an evaluation has left in its folder."""

import json
import logging
from pathlib import Path

from torch import Tensor

from centernet2.data.dataset import DetectionDataset
from centernet2.data.loader import read_indexed_image
from centernet2.evaluation.analysis import analyse
from centernet2.evaluation.results import read_results
from centernet2.report.evaluation_page import write_evaluation_page

logger = logging.getLogger(__name__)


def report_on(
    folder: Path,
    *,
    title: str,
    dataset: DetectionDataset,
    metrics: dict[str, float],
    predictions: Path,
) -> None:
    """Writes the page of COCO results into a folder, with what stages.json beside them says of the stages."""
    results = read_results(predictions, dataset)
    recorded = predictions.with_name("stages.json")
    stages = None
    if recorded.is_file():
        records = json.loads(recorded.read_text(encoding="utf-8"))
        stages = [records[key] for key in sorted(records, key=int)]
        if sum(len(each["object_scores"]) for each in stages) != len(results):
            logger.warning(
                "%s belongs to other detections than %s and is left out", recorded, predictions
            )
            stages = None
    analysis = analyse(dataset, results, metrics, stages)
    index = {image_id: i for i, image_id in enumerate(dataset.image_ids.tolist())}

    def read_image(image_id: int) -> tuple[Path, Tensor]:
        i = index[image_id]
        return dataset.image_path(i).absolute(), read_indexed_image(dataset, i)

    path = write_evaluation_page(
        folder.absolute(),
        title=title,
        analysis=analysis,
        truth=dataset,
        results=results,
        read_image=read_image,
    )
    logger.info("report: %s", path)
