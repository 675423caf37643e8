"""The command `compare`: compare two detectors."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from centernet2.jobs import PathArgument, WeightsArgument

if TYPE_CHECKING:
    from centernet2.evaluation import Difference


class Comparison(NamedTuple):
    """Metrics of two detectors, and confidence intervals of their differences."""

    differences: "dict[str, Difference]"
    confidence: float


def compare(
    first: WeightsArgument,
    second: WeightsArgument,
    *,
    data: PathArgument | None = None,
    data_path: PathArgument | None = None,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    output: PathArgument | None = None,
    device: str | None = None,
) -> Comparison:
    """Compare two detectors: metrics, and confidence intervals of the differences.

    Parameters
    ----------
    first
        Output folder of an evaluation or a training run, COCO results file, or checkpoint.
    second
        The other detector, in any of these forms.
    data
        Folder or annotation file in any layout, or the name of a data set.
    data_path
        Folder that contains the named data sets: coco2017/ or coco/, lvis/, objects365/, nuimages/;
        default: $DETECTRON2_DATASETS, then ./datasets. Not with --data.
    samples
        Number of bootstrap samples of the images (paired).
    confidence
        Confidence level of the intervals.
    seed
        Random seed of the bootstrap.
    output
        JSON file for the metrics.
    device
        For checkpoints: cuda, npu, xpu, mps or cpu; default: MODEL.DEVICE of the config; if this
        machine does not have it, the best available device.
    """
    from centernet2.builders.evaluator import DEFAULT_NAMES, find_validation_data, load_results
    from centernet2.evaluation import compare_results
    from centernet2.files import write_json

    if samples < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"--samples is {samples} and --confidence {confidence}; "
            "give at least 1 sample and a confidence between 0 and 1"
        )
    dataset = find_validation_data(data, data_path, names=DEFAULT_NAMES, masks=False)
    one, other = (load_results(source, dataset, device=device) for source in (first, second))
    differences = compare_results(
        dataset, one, other, samples=samples, confidence=confidence, seed=seed
    )
    if output is not None:
        metrics = {
            name: {key: None if value != value else value for key, value in each._asdict().items()}
            for name, each in differences.items()
        }
        content = {"first": str(first), "second": str(second), "metrics": metrics}
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        write_json(Path(output), content, indent=1)
    return Comparison(differences, confidence)
