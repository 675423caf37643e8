"""Fills a detector from a weights file, and says what happened to every part."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from centernet2.checkpoint.formats import BACKBONES, WeightsError, WeightsFile, read_weights
from centernet2.checkpoint.names import (
    IGNORED,
    from_network,
    from_suffixes,
    join_scales,
    reference_names,
    to_reference,
)

logger = logging.getLogger(__name__)

SHOWN = 8  # names of a list that the report prints


@dataclass(frozen=True)
class LoadReport:
    """What became of the tensors of a file and of a model. Names are the model's, or the file's where it has none."""

    loaded: list[str]
    skipped: list[str]  # in the file, not in the model
    reinitialized: list[str]  # in the model, not in the file
    mismatched: dict[
        str, tuple[tuple[int, ...], tuple[int, ...]]
    ]  # name -> shape in the file, in the model

    def __str__(self) -> str:
        shapes = [f"{name} {list(a)} -> {list(b)}" for name, (a, b) in self.mismatched.items()]
        rows = [
            ("loaded", len(self.loaded), []),
            ("of another shape, left as initialised", len(shapes), shapes),
            ("not in the file, left as initialised", len(self.reinitialized), self.reinitialized),
            ("not in the model, skipped", len(self.skipped), self.skipped),
        ]
        return "\n".join(f"{count:6d} {what}{_listed(names)}" for what, count, names in rows)


def load_weights(model: nn.Module, source: str | os.PathLike[str]) -> LoadReport:
    """Fills `model` with the weights of a file; WeightsError where nothing fits."""
    return fill(model, read_weights(Path(source)), str(source))


def fill(model: nn.Module, file: WeightsFile, origin: str) -> LoadReport:
    """Fills `model` with weights by whosever names; WeightsError, which names their origin, where nothing fits."""
    report = load_state(model, _to_ours(model, file, origin))
    if not report.loaded:
        raise WeightsError(
            f"nothing in {origin} fits the model; its first names are {', '.join(list(file.state)[:3])}"
        )
    if file.kind in BACKBONES:
        _require_backbone(report, origin)
    _copy_pixel_statistics(model, file.state)
    logger.info("weights of %s (%s):\n%s", origin, file.kind, report)
    return report


def load_state(model: nn.Module, state: Mapping[str, Tensor]) -> LoadReport:
    """Copies the tensors that fit, by our names."""
    own = model.state_dict()
    fitting = {n: t for n, t in state.items() if n in own and own[n].shape == t.shape}
    mismatched = {
        n: (tuple(t.shape), tuple(own[n].shape))
        for n, t in state.items()
        if n in own and own[n].shape != t.shape
    }
    model.load_state_dict(fitting, strict=False)
    return LoadReport(
        loaded=list(fitting),
        skipped=[n for n in state if n not in own and not IGNORED.search(n)],
        reinitialized=[n for n in own if n not in state and not IGNORED.search(n)],
        mismatched=mismatched,
    )


def export_reference_checkpoint(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Writes a file that the reference implementation loads."""
    state = {
        name: tensor.detach().cpu().clone()
        for name, tensor in to_reference(model.state_dict()).items()
    }
    if _is_one_stage(model):
        preprocess: Any = model.preprocess
        state |= {"pixel_mean": preprocess.mean.cpu(), "pixel_std": preprocess.std.cpu()}
    torch.save({"model": state, "__author__": "centernet2"}, path)


def _to_ours(model: nn.Module, file: WeightsFile, origin: str) -> dict[str, Tensor]:
    """The tensors under our names, whoever has named them; what the model does not have keeps its name."""
    own = list(model.state_dict())
    state = join_scales(file.state)
    if file.kind == "network":
        ours = from_network(own, state)
    elif file.kind == "detectron2":
        ours = _only_ones(from_suffixes(own, state), origin)
    else:
        ours = {name: key for key, name in reference_names(own).items()}
    return {ours.get(name, name): tensor for name, tensor in state.items()}


def _only_ones(keys: Mapping[str, list[str]], origin: str) -> dict[str, str]:
    for name, matches in keys.items():
        if len(matches) > 1:
            raise WeightsError(
                f"{origin} cannot be used: its '{name}' may be {matches[0]} or {matches[1]}"
            )
    return {name: key for name, (key,) in keys.items()}


def _require_backbone(report: LoadReport, origin: str) -> None:
    """The backbone is filled, but for the offsets of deformable convolutions, which no such file has."""
    unfit = [*report.mismatched, *report.reinitialized]
    lacking = [name for name in unfit if name.startswith("backbone.") and ".offset." not in name]
    if lacking:
        raise WeightsError(
            f"{origin} holds another backbone than the model's: {len(lacking)} tensors such as {lacking[0]} are "
            "missing or of another shape; give the file of the backbone that the settings name"
        )


def _is_one_stage(model: nn.Module) -> bool:
    return hasattr(model, "preprocess") and getattr(model, "roi_heads", None) is None


def _copy_pixel_statistics(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """A one-stage reference checkpoint has its own mean and deviation, which the reference prefers to the settings."""
    if _is_one_stage(model) and "pixel_mean" in state and "pixel_std" in state:
        preprocess: Any = model.preprocess
        preprocess.mean.copy_(state["pixel_mean"].view(3, 1, 1))
        preprocess.std.copy_(state["pixel_std"].view(3, 1, 1))


def _listed(names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f": {', '.join(names[:SHOWN])}{more}"
