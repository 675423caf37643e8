"""Counts of PyTorch's operators, which do not depend on the speed of a machine."""

from collections import Counter
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from centernet2.models.detector import Detector
from centernet2.structures import Target


class Work(NamedTuple):
    """The operators that a program calls, and the memory that they write."""

    operators: int
    megabytes: float  # written by them


class CountOperators(TorchDispatchMode):
    """Count the operators called inside by name, and sum the bytes of their results.

    Views are left out: they cost next to nothing, and their number differs between releases of
    PyTorch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not is_view(func):
            self.calls[func._schema.name] += 1
            self.bytes += sum(x.nbytes for x in tree_leaves(result) if isinstance(x, Tensor))
        return result

    @property
    def work(self) -> Work:
        return Work(self.calls.total(), self.bytes / 1e6)


def is_view(operator: Any) -> bool:
    """Whether the results of an operator are views of its arguments."""
    return any(r.alias_info and not r.alias_info.is_write for r in operator._schema.returns)


def count_training(
    model: Detector, images: list[Tensor], targets: list[Target]
) -> tuple[CountOperators, CountOperators]:
    """Count the operators of the forward and the backward pass of a training step."""
    torch.manual_seed(0)
    model.train()
    with CountOperators() as forward:
        total = torch.stack(list(model(images, targets).values())).sum()
    with CountOperators() as backward:
        total.backward()
    model.zero_grad()
    return forward, backward


@torch.no_grad()
def count_inference(model: Detector, images: list[Tensor]) -> CountOperators:
    """Count the operators of inference on some images."""
    model.eval()
    with CountOperators() as counted:
        model(images)
    return counted
