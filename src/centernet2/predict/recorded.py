"""The record of an exported file: what its detector computed, for explanations."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from centernet2.images.resize import make_test_resize
from centernet2.models.centernet import Decoder, DecoderOptions, HeadOutput, ProposalLimits
from centernet2.models.explain import StageResult, TracedImage
from centernet2.models.roi_heads import DetectionSelector, SelectionOptions
from centernet2.predict.exported_detector import calibration_of
from centernet2.predict.pytorch_detector import Recording
from centernet2.runtime.agreement import ROUNDING
from centernet2.runtime.exported_model import ExportedModel
from centernet2.runtime.session import Arrays
from centernet2.structures import Detections, Pixels, Proposals, ScoreCalibration, TestSize


def read_record(model: ExportedModel, image: Pixels) -> tuple[Arrays, Recording]:
    """Run a file on an image, and return its detections and what explains them.

    Raises:
        ValueError: the file has no record, or the recorded proposals are not those that PyTorch
            finds in the recorded maps.
    """
    if not model.metadata.get("rules"):
        raise ValueError(
            f"{model.path.name} returns its detections alone; export it with --record to explain "
            "them"
        )
    rules = _read_rules(model)
    outputs, found = _run(model, image)
    height, width = image.shape[:2]
    size = make_test_resize(rules.test_size).output_size(height, width)
    scale = width / size[1], height / size[0]
    factors = torch.tensor(scale * 2)
    head = _head(outputs, len(rules.level_names))
    proposals = rules.decoder(head, padded=True)[0].without_padding()
    rows = _rows_of(proposals, outputs, factors)
    if rows is None:
        raise ValueError(
            f"{model.path.name}: {model.session.description} and PyTorch find different proposals "
            "in this image, whose scores are nearly equal; explain it with the checkpoint"
        )
    traced = TracedImage(
        size,
        rules.decoder,
        head,
        proposals,
        _stages(outputs, rows, factors),
        rules.selector,
        _detections(found, factors),
        rows.argsort()[outputs["proposal_rows"][0, : len(found["boxes"])].long()],
    )
    return found, Recording(traced, scale, rules.level_names)


class _Rules(NamedTuple):
    """The rules of an exported detector, in the metadata of its file."""

    test_size: TestSize
    level_names: Sequence[str]
    decoder: Decoder
    selector: DetectionSelector | None  # None: it has no second stage


def _read_rules(model: ExportedModel) -> _Rules:
    metadata = model.metadata
    rules = metadata["rules"]
    calibration = calibration_of(model)
    try:
        return _Rules(
            TestSize(**metadata["test_size"]),
            rules["level_names"],
            Decoder(rules["strides"], _decoder_options(rules["decoder"])).eval(),
            _selector(rules["selection"], calibration),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"the rules in the metadata of {model.path.name} were changed; export it again"
        ) from error


def _run(model: ExportedModel, image: Pixels) -> tuple[dict[str, Tensor], Arrays]:
    """Return all outputs [1, ...] for an image, and its detections."""
    count = model.input_shape[0]
    batch = np.stack([image.transpose(2, 0, 1)] * (count if isinstance(count, int) else 1))
    arrays = model.run(batch)
    outputs = {name: torch.from_numpy(column)[:1] for name, column in arrays.items()}
    return outputs, model.split(arrays, len(batch))[0]


def _detections(found: Arrays, factors: Tensor) -> Detections:
    """Return detections as tensors, boxes in pixels of the model's input."""
    boxes, scores, labels = (torch.from_numpy(found[k]) for k in ("boxes", "scores", "labels"))
    return {"boxes": boxes / factors, "scores": scores, "labels": labels}


def _head(outputs: Mapping[str, Tensor], num_levels: int) -> HeadOutput:
    """Return the recorded maps of the first stage."""
    maps = {
        field: [outputs[name].float() for name in names]
        for field in HeadOutput._fields
        if (names := [f"level{level}_{field}" for level in range(num_levels)])[0] in outputs
    }
    return HeadOutput(maps.get("class_logits"), maps.get("object_logits"), maps["ltrb"])


def _rows_of(proposals: Proposals, outputs: Mapping[str, Tensor], factors: Tensor) -> Tensor | None:
    """Return the row [R] of each proposal in the record; None: they are not the same."""
    count = int(outputs["proposal_count"][0])
    boxes, labels = (outputs[f"proposal_{key}"][0, :count] for key in ("boxes", "labels"))
    offsets = (proposals.boxes[:, None] * factors - boxes).abs().amax(dim=2)  # [R, R]
    offsets = torch.where(proposals.labels[:, None] == labels, offsets, torch.inf)
    if len(offsets) != count:
        return None
    if count == 0:
        return torch.arange(0)
    nearest, rows = offsets.min(dim=1)
    are_same = bool((nearest <= ROUNDING.offset).all()) and len(set(rows.tolist())) == count
    return rows if are_same else None


def _stages(outputs: Mapping[str, Tensor], rows: Tensor, factors: Tensor) -> list[StageResult]:
    """Return the recorded stages of the cascade, for proposals in the order of `rows`."""
    count = sum(name.endswith("_probabilities") for name in outputs)
    return [
        StageResult(
            outputs[f"stage{k}_boxes"][0, rows] / factors,
            outputs[f"stage{k}_probabilities"][0, rows],
        )
        for k in range(count)
    ]


def _decoder_options(fields: Mapping[str, Any]) -> DecoderOptions:
    limits = {name: ProposalLimits(**fields[name]) for name in ("training", "inference")}
    return DecoderOptions(**{**fields, **limits})


def _selector(
    fields: Mapping[str, Any] | None, calibration: ScoreCalibration | None
) -> DetectionSelector | None:
    """Return the selector of a graph, with static shapes; None: there are no options."""
    if fields is None:
        return None
    selector = DetectionSelector(SelectionOptions(**fields))
    selector.static_shapes, selector.calibration = True, calibration
    return selector
