"""Class layers of weights trained on other classes, joined by class name."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from centernet2.builders.detector.network import build_on_meta
from centernet2.config import CLASS_KEYS, Config
from centernet2.data import class_list, join_classes
from centernet2.models.detector import Detector

logger = logging.getLogger(__name__)

FEDERATED_KEY = "MODEL.ROI_BOX_HEAD.USE_FED_LOSS"


@dataclass(frozen=True)
class _ClassDimension:
    """The class dimension of a tensor: C blocks, then those of the background."""

    dim: int
    block: int  # length for each class
    rest: int

    def rows(self, labels: Sequence[int], count: int) -> Tensor:
        """Return the indices of some of `count` classes, and those of the background."""
        blocks = torch.tensor(labels)[:, None] * self.block + torch.arange(self.block)
        return torch.cat([blocks.flatten(), self.block * count + torch.arange(self.rest)])


def join_class_layers(
    tensors: Mapping[str, Tensor],
    model: Detector,
    config: Config,
    names: Sequence[str],
    *,
    origin: str,
) -> Mapping[str, Tensor]:
    """Move the parameters of each class to the label that the class has in a model.

    Args:
        tensors: weights by our names.
        model: has class names; what the tensors lack for it stays as initialized.
        config: of the model.
        names: classes of the tensors; empty: unknown, and nothing is moved.
        origin: of the tensors, for the log.
    """
    classes = model.info.class_names
    if not names or tuple(names) == classes:
        return tensors
    join = join_classes(classes, names)
    labels = [label for label, other in enumerate(join.labels.tolist()) if other >= 0]
    if labels:
        rest = f"{class_list(join.added)} of the data start as initialized" if join.added else ""
        logger.warning(
            "%s was trained on other classes: its class layers are joined by name for %s%s",
            origin, class_list([classes[label] for label in labels]), f"; {rest}" if rest else "",
        )  # fmt: skip
    else:
        logger.warning(
            "%s was trained on other classes: it has %s, and the data have %s, so its class layers "
            "are not loaded", origin, class_list(names), class_list(classes),
        )  # fmt: skip
    own, joined = model.state_dict(), dict(tensors)
    for name, where in _class_dimensions(own, config, len(classes)).items():
        given = joined.pop(name, None)
        shape = list(own[name].shape)
        if not labels or where is None or given is None or given.ndim != len(shape):
            continue
        shape[where.dim] = where.block * len(names) + where.rest
        if list(given.shape) == shape:
            to = where.rows(labels, len(classes))
            source = where.rows(join.labels[labels].tolist(), len(names))
            values = given.index_select(where.dim, source).to(own[name].dtype)
            joined[name] = own[name].clone().index_copy_(where.dim, to, values)
    return joined


def _class_dimensions(
    own: Mapping[str, Tensor], config: Config, count: int
) -> dict[str, _ClassDimension | None]:
    """Find the tensors that depend on the classes, from a model with one class more.

    Those that the data decide, and no weights, have no dimension: weights of the federated loss.
    """
    values = dict.fromkeys(CLASS_KEYS, count + 1) | {FEDERATED_KEY: False}
    larger = build_on_meta(config.replace(values)).state_dict()
    found: dict[str, _ClassDimension | None] = {}
    for name, tensor in own.items():
        if name not in larger:
            found[name] = None
        elif tensor.shape != larger[name].shape:
            pairs = zip(tensor.shape, larger[name].shape, strict=True)
            ((dim, size, block),) = [(i, a, b - a) for i, (a, b) in enumerate(pairs) if a != b]
            found[name] = _ClassDimension(dim, block, size - block * count)
    return found
