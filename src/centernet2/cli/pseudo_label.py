"""The command `pseudo-label`."""

from pathlib import Path

from centernet2.cli.arguments import Pairs


def pseudo_label(
    *overrides: Pairs,
    weights: str,
    images: Path,
    output: Path,
    score: float = 0.5,
    device: str | None = None,
) -> None:
    """Label images with a trained detector, to train another one on them: annotations in COCO's format.

    Parameters
    ----------
    weights
        The teacher: a checkpoint, or zoo:NAME of a published model.
    images
        Folder of images without annotations.
    output
        The JSON file. Train on it with DATASETS.TRAIN "('labelled.json@images', 'pseudo.json@unlabelled')".
    score
        Detections below it are no labels.
    device
        cuda, npu, xpu, mps or cpu; default: the best there is.
    """
    from rich import get_console

    from centernet2.jobs.pseudo_label import pseudo_label as label_images
    from centernet2.report.tables import counts_table

    counts = label_images(
        weights, images, output, score_threshold=score, overrides=overrides, device=device
    )
    get_console().print(counts_table(counts))
