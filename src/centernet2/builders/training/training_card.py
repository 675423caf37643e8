"""The card of a checkpoint: what it is, how it was trained, how good it is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from centernet2.builders.detector.initial_weights import find_checkpoint
from centernet2.builders.training.train_command import TrainCommand
from centernet2.checkpoint import load_checkpoint
from centernet2.checkpoint.checkpoint import digest_of
from centernet2.files import finite_or_none
from centernet2.outputs import json_mark
from centernet2.report.model_card import find_record
from centernet2.structures import StrPath
from centernet2.text_files import read_text_file

_DATA = {"images": int, "objects": int, "sha256": str}
NEEDED = {  # what a card holds, to train again
    "file": str,
    "weights": str,
    "metrics": dict,
    "origin": {
        "command": dict,
        "seed": int,
        "data": {"train": _DATA, "val": _DATA},
        "initial_weights": str,
        "versions": dict,
        "machine": {"device": str, "threads": int},
    },
}


def card_of(weights: StrPath) -> dict[str, Any]:
    """Return the card of a checkpoint as what JSON holds.

    Raises:
        ValueError: the checkpoint does not say how it was trained.
    """
    path = find_checkpoint(weights)
    checkpoint = load_checkpoint(path)
    if not checkpoint.origin:
        raise ValueError(
            f"{path} does not say how it was trained, as files of earlier releases; its card "
            "cannot be written"
        )
    info = checkpoint.info
    return {
        **json_mark("card"),
        "file": path.name,
        "weights": digest_of(checkpoint.weights),
        "iteration": checkpoint.iteration,
        "metrics": {name: finite_or_none(value) for name, value in checkpoint.metrics.items()},
        "classes": [*info.class_names],
        "config": info.config_name,
        "calibrated": info.calibration is not None,
        "origin": {**checkpoint.origin},
    }


def read_card(source: Path) -> dict[str, Any]:
    """Read a written card, or make that of a checkpoint or a training run's folder."""
    if source.suffix.lower() != ".md":
        return card_of(source)
    record = find_record(read_text_file(source))
    if record is None:
        raise ValueError(
            f"{source} holds no record of `centernet2 card`; write the card of the checkpoint again"
        )
    try:
        card: dict[str, Any] = json.loads(record)
        _require_keys(card, NEEDED)
        TrainCommand.from_dict(card["origin"]["command"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{source}: its record has been changed ({error}); write the card of the checkpoint "
            "again"
        ) from None
    return card


def _require_keys(record: Any, needed: Mapping[str, Any]) -> None:
    """Raise ValueError unless a record has all keys, with values of their types."""
    for key, kind in needed.items():
        value = record.get(key)
        if not isinstance(value, dict if isinstance(kind, Mapping) else kind):
            raise ValueError(f"'{key}' is missing or no longer what it was")
        if isinstance(kind, Mapping):
            _require_keys(value, kind)
