"""A simulated accelerator, whose tensors lie in main memory.

Inside `PretendDevice` the device "meta" computes. An operator fails where tensors of two devices
meet, as they do when one is created without a device. What makes the host of an accelerator wait
is counted: values read back, results whose size depends on values, and synchronous copies.
"""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from centernet2.kernels.operators import _run_nms

DEVICE = torch.device("meta")
SIZED_BY_VALUES = {
    "aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::unique_dim",
    "aten::unique_consecutive", "aten::bincount", "torchvision::nms",
}  # fmt: skip


class PretendTensor(torch.Tensor):
    """A tensor of the pretend device around the one in main memory."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "PretendTensor":
        made: PretendTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        made.held = held
        return made

    def __init__(self, held: Tensor) -> None:
        pass

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return current().run(func, args, kwargs or {})


_active: list["PretendDevice"] = []


def current() -> "PretendDevice":
    if not _active:
        raise RuntimeError("a tensor of the pretend device is used outside of it")
    return _active[-1]


class PretendDevice(TorchDispatchMode):
    """Context in which the device exists; `waits` counts synchronizations by operator."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __enter__(self) -> "PretendDevice":
        _active.append(self)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _active.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(func, args, kwargs or {})

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an operator, on the device if its tensors lie there or are created there."""
        name = func._schema.name
        if name == "centernet2::nms_mask":  # count its parts too
            return _run_nms(*args, **kwargs)
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        here = any(isinstance(x, PretendTensor) for x in tensors)
        if name in ("aten::_to_copy", "aten::copy_"):
            return self._copy(func, args, kwargs)
        if any(x.device == DEVICE and not isinstance(x, PretendTensor) for x in tensors):
            raise RuntimeError(
                f"{name}: numbers of the host were put on the device by torch.tensor(..., device)"
            )
        strange = [
            tuple(x.shape)
            for x in tensors
            if here and not isinstance(x, PretendTensor) and x.dim() > 0
        ]
        if strange:
            raise RuntimeError(
                f"{name}: tensors of shape {strange} lie on the CPU, the others on the device"
            )
        self._count(name, args, here)
        if (kwargs.get("device") is not None and not tensors) or (
            "device" in kwargs and kwargs["device"] is not None
        ):
            here = torch.device(kwargs["device"]) == DEVICE
            kwargs = kwargs | {"device": torch.device("cpu")}
        result = func(*tree_map(_held, args), **tree_map(_held, kwargs))
        return _answer(result, tensors, here)

    def _count(self, name: str, args: Any, here: bool) -> None:
        if not here:
            return
        masks = name in (
            "aten::index",
            "aten::index_put",
            "aten::index_put_",
            "aten::_index_put_impl_",
        ) and any(x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1])
        if name == "aten::_local_scalar_dense" or name in SIZED_BY_VALUES or masks:
            self.waits[name] += 1
        if name == "aten::repeat_interleave" or name == "aten::equal":
            self.waits[name] += 1

    def _copy(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        name = func._schema.name
        if name == "aten::copy_":
            goal, source = args[0], args[1]
            waits = not (kwargs.get("non_blocking") or (args[2] if len(args) > 2 else False))
            there = isinstance(goal, PretendTensor)
        else:
            goal, source = None, args[0]
            waits = not kwargs.get("non_blocking")
            wanted = kwargs.get("device")
            there = (
                isinstance(source, PretendTensor)
                if wanted is None
                else torch.device(wanted) == DEVICE
            )
        here = isinstance(source, PretendTensor)
        if here and not there:
            self.waits["to the host"] += 1
        elif there and not here and waits and source.dim() > 0:
            self.waits["to the device"] += 1
        if wanted_cpu := kwargs.get("device"):
            kwargs = kwargs | {
                "device": torch.device("cpu") if torch.device(wanted_cpu) == DEVICE else wanted_cpu
            }
        result = func(*tree_map(_held, args), **kwargs)
        if goal is not None:
            return goal
        if result is _held(source):
            result = result.clone()
        return PretendTensor(result) if there else result


def _held(x: Any) -> Any:
    return x.held if isinstance(x, PretendTensor) else x


def _answer(result: Any, tensors: list[Tensor], here: bool) -> Any:
    """Wrap results as tensors of the device; return in-place arguments as they are."""
    own = {id(_held(x)): x for x in tensors}

    def answer(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if id(x) in own:
            return own[id(x)]
        return PretendTensor(x) if here and not isinstance(x, PretendTensor) else x

    return tree_map(answer, result)
