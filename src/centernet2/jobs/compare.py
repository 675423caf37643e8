"""Two detectors side by side, and per-class thresholds: what follows from detections that are already there."""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

from centernet2.builders.loading import StrPath, config_of, load_model
from centernet2.data.dataset import DetectionDataset
from centernet2.evaluation.bootstrap import Difference, compare_results
from centernet2.evaluation.ground_truth import FloatArray
from centernet2.evaluation.results import read_results
from centernet2.files import write_json
from centernet2.jobs.evaluate import DEFAULT_NAMES, evaluate_dataset, find_data

logger = logging.getLogger(__name__)


def compare(
    first: StrPath,
    second: StrPath,
    *,
    data: StrPath | None = None,
    data_path: StrPath | None = None,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    output: StrPath | None = None,
    device: str | None = None,
) -> dict[str, Difference]:
    """Figures of two detectors with bounds of their differences, by a paired bootstrap over images.

    Args:
        first, second: the folder of an evaluation or of a training, a COCO results file, or a checkpoint, which is
            evaluated first.
        data, data_path: as for `evaluate`; default: the named data set of COCO.
        samples, confidence, seed: how often images are drawn, what share of the draws lies between the bounds, and
            the seed of the draws.
        output: JSON file for the figures.
        device: for checkpoints.
    """
    if samples < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"samples is {samples} and confidence {confidence}; at least 1, and between 0 and 1"
        )
    dataset = find_data(data, data_path, names=DEFAULT_NAMES, masks=False)
    one, other = (results_from(source, dataset, device=device) for source in (first, second))
    differences = compare_results(
        dataset, one, other, samples=samples, confidence=confidence, seed=seed
    )
    if output is not None:
        _write(Path(output), str(first), str(second), differences)
    return differences


def results_from(source: StrPath, dataset: DetectionDataset, *, device: str | None) -> FloatArray:
    """The detections of an evaluation, of a results file, or of a checkpoint (or zoo:NAME), which is run."""
    path = Path(source)
    if path.is_dir():
        existing = [
            each
            for each in (path / "predictions.json", path / "eval" / "predictions.json")
            if each.is_file()
        ]
        if not existing:
            raise FileNotFoundError(
                f"{path} holds no predictions.json; give the output folder of an evaluation"
            )
        path = existing[0]
    if path.suffix == ".json":
        return read_results(path, dataset)
    model = load_model(source, device=device)
    with tempfile.TemporaryDirectory() as folder:
        evaluate_dataset(model, dataset, config_of(model.info), Path(folder))
        return read_results(Path(folder) / "predictions.json", dataset)


def _write(path: Path, first: str, second: str, differences: Mapping[str, Difference]) -> None:
    figures = {
        name: {key: None if value != value else value for key, value in each._asdict().items()}
        for name, each in differences.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"first": first, "second": second, "figures": figures}, indent=1)
