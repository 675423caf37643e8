"""The command `compare`: compare two detectors."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from centernet2.arguments import checked
from centernet2.files import write_json
from centernet2.jobs import ClassMap, DataPath, Device, OptionalData, PathArgument, WeightsArgument
from centernet2.outputs import json_mark, writable_file
from centernet2.ranges import at_least, between

if TYPE_CHECKING:
    from collections.abc import Sequence

    from centernet2.builders.evaluation.stored_results import FoundDetections
    from centernet2.data import DetectionDataset
    from centernet2.evaluation import Difference, Scored
    from centernet2.structures import FloatArray

logger = logging.getLogger(__name__)


class Comparison(NamedTuple):
    """Metrics of two detectors, and confidence intervals of their differences."""

    differences: "dict[str, Difference]"
    confidence: float
    skipped: int  # images that could not be used, which are left out


@checked(samples=at_least(1), confidence=between(0, 1, excluded=(0, 1)), seed=at_least(0))
def compare(
    first: WeightsArgument,
    second: WeightsArgument,
    *,
    data: OptionalData = None,
    data_path: DataPath = None,
    class_map: ClassMap = None,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    output: PathArgument | None = None,
    device: Device = None,
) -> Comparison:
    """Compare two detectors: metrics, and confidence intervals of the differences.

    The data sets, and the images that are held out of undivided data, are those of the configs: in
    a checkpoint, or config.yaml of a training run.

    Parameters
    ----------
    first
        Output folder of an evaluation or a training run, COCO results file, or checkpoint.
    second
        The other detector, in any of these forms.
    samples
        Number of bootstrap samples of the images (paired).
    confidence
        Confidence level of the intervals.
    seed
        Random seed of the bootstrap.
    output
        JSON file for the metrics.
    """
    from centernet2.builders.data.class_map import class_map_of
    from centernet2.builders.data.evaluation_data import choose_datasets, find_validation_data
    from centernet2.builders.evaluation.evaluator import load_results
    from centernet2.builders.evaluation.stored_results import config_of_source, holds_results
    from centernet2.evaluation import compare_pairs

    if device is not None and holds_results(first) and holds_results(second):
        raise ValueError("both are results, so no detector runs: --device would have no effect")
    target = None if output is None else writable_file(Path(output), command="compare")
    names, configs = class_map_of(class_map), [config_of_source(each) for each in (first, second)]
    datasets = choose_datasets(*configs, class_map=names)
    dataset = find_validation_data(data, data_path, datasets, masks=False, class_map=names)
    sides = [load_results(source, dataset, device=device) for source in (first, second)]
    rest, (ours, theirs) = _without_skipped(dataset, sides)
    differences = compare_pairs(
        rest, [(ours, theirs)], samples=samples, confidence=confidence, seed=seed
    )
    if target is not None:
        content = {**json_mark("compare"), "first": str(first), "second": str(second)}
        metrics = {name: each._asdict() for name, each in differences.items()}
        write_json(target, {**content, "metrics": metrics}, indent=1)
    return Comparison(differences, confidence, len(dataset) - len(rest))


def _without_skipped(
    dataset: "DetectionDataset", sides: "Sequence[FoundDetections | Scored]"
) -> "tuple[DetectionDataset, list[FloatArray]]":
    """Return data and results of both sides, without images that either has skipped."""
    from centernet2.evaluation import without_images

    skipped = sorted({image for each in sides for image in each.skipped})
    if skipped:
        logger.warning(
            "%d of %d images are skipped on either side and left out on both",
            len(skipped), len(dataset),
        )  # fmt: skip
    parts = [without_images(dataset, each.results, skipped) for each in sides]
    return parts[0][0], [results for _, results in parts]
