"""Load weights into a model, and report which tensors were loaded."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from centernet2.checkpoint.checkpoint import has_one_stage
from centernet2.checkpoint.names import (
    IGNORED,
    from_network,
    from_suffixes,
    join_scales,
    reference_names,
)
from centernet2.checkpoint.source import WeightsFile
from centernet2.checkpoint.weights_file import WeightsError

logger = logging.getLogger(__name__)

LISTED_PARAMETERS = 8  # number of names that the report prints of each list


@dataclass(frozen=True)
class LoadReport:
    """Tensors of a file and a model: loaded, skipped, reinitialized or mismatched.

    Names are the model's, or the file's for tensors that the model does not have.
    """

    loaded: list[str]
    skipped: list[str]  # in the file, not in the model
    reinitialized: list[str]  # in the model, not in the file
    # name -> shape in the file, shape in the model
    mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def __str__(self) -> str:
        shapes = [f"{name} {list(a)} -> {list(b)}" for name, (a, b) in self.mismatched.items()]
        rows = [
            ("loaded", len(self.loaded), []),
            ("of another shape, left as initialized", len(shapes), shapes),
            ("not in the file, left as initialized", len(self.reinitialized), self.reinitialized),
            ("not in the model, skipped", len(self.skipped), self.skipped),
        ]
        return "\n".join(f"{count:6d} {what}{_listed(names)}" for what, count, names in rows)

    @property
    def share(self) -> float:
        """Share of the model's tensors that are loaded."""
        count = len(self.loaded) + len(self.mismatched) + len(self.reinitialized)
        return len(self.loaded) / max(1, count)

    def sentence(self) -> str:
        """Describe what is missing, with one example of each kind."""
        parts = [f"{len(self.loaded)} tensors are loaded"]
        for name, (given, own) in list(self.mismatched.items())[:1]:
            shapes = f"{name} {list(given)} instead of {list(own)}"
            parts.append(f"{len(self.mismatched)} have another shape ({shapes})")
        for name in self.reinitialized[:1]:
            parts.append(f"{len(self.reinitialized)} are not in the file ({name})")
        return ", ".join(parts)


def load_weights(
    model: nn.Module,
    file: WeightsFile,
    *,
    adapt: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = lambda tensors: tensors,
) -> LoadReport:
    """Load the content of a weights file; raise WeightsError if nothing fits.

    `adapt` changes the tensors, by our names, before they are loaded.
    """
    report = load_state(model, adapt(_to_our_names(model, file)))
    if not report.loaded:
        raise WeightsError(
            f"nothing in {file.origin} fits the model; "
            f"its first names are {', '.join(list(file.tensors)[:3])}"
        )
    if file.is_backbone:
        _require_backbone(report, file.origin)
    _copy_pixel_statistics(model, file.tensors)
    logger.info("weights of %s (%s):\n%s", file.origin, file.kind, report)
    return report


def load_state(model: nn.Module, state: Mapping[str, Tensor]) -> LoadReport:
    """Copy the tensors whose names and shapes are those of the model."""
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


def _to_our_names(model: nn.Module, file: WeightsFile) -> Mapping[str, Tensor]:
    """Rename the tensors to our names; unknown tensors keep theirs."""
    if file.kind == "centernet2":
        return file.tensors
    own = list(model.state_dict())
    state = join_scales(file.tensors)
    if file.kind == "network":
        ours = from_network(own, state)
    elif file.kind == "detectron2":
        ours = _require_unique(from_suffixes(own, state), file.origin)
    else:
        ours = {name: key for key, name in reference_names(own).items()}
    return {ours.get(name, name): tensor for name, tensor in state.items()}


def _require_unique(keys: Mapping[str, list[str]], origin: str) -> dict[str, str]:
    for name, matches in keys.items():
        if len(matches) > 1:
            raise WeightsError(
                f"{origin} cannot be used: its '{name}' matches both {matches[0]} and {matches[1]}"
            )
    return {name: key for name, (key,) in keys.items()}


def _require_backbone(report: LoadReport, origin: str) -> None:
    """Refuse a file that does not contain the whole backbone.

    Offsets of deformable convolutions are exempt: no file of ImageNet weights has them.
    """
    unfit = [*report.mismatched, *report.reinitialized]
    lacking = [name for name in unfit if name.startswith("backbone.") and ".offset." not in name]
    if lacking:
        raise WeightsError(
            f"{origin} holds another backbone than the model's: {len(lacking)} tensors such as "
            f"{lacking[0]} are missing or of another shape; give the file of the backbone that the "
            "config names"
        )


def _copy_pixel_statistics(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy pixel mean and std of a one-stage checkpoint, as the reference does."""
    if has_one_stage(model) and "pixel_mean" in state and "pixel_std" in state:
        preprocess: Any = model.preprocess
        preprocess.mean.copy_(state["pixel_mean"].view(3, 1, 1))
        preprocess.std.copy_(state["pixel_std"].view(3, 1, 1))


def _listed(names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - LISTED_PARAMETERS} more" if len(names) > LISTED_PARAMETERS else ""
    return f": {', '.join(names[:LISTED_PARAMETERS])}{more}"
