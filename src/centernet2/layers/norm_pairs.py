"""Which normalization directly follows which convolution, found in what a network computes."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from timm.layers.norm_act import FrozenBatchNormAct2d
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torchvision.ops import FrozenBatchNorm2d

FROZEN_NORMS = (FrozenBatchNorm2d, FrozenBatchNormAct2d)


class NormPair(NamedTuple):
    """A convolution and the frozen normalization that alone consumes its output."""

    conv: nn.Conv2d
    norm: nn.Module


def find_norm_pairs(network: nn.Module, image: Tensor) -> list[NormPair]:
    """The pairs in a network, in evaluation mode on an image [N, 3, H, W].

    A pair is recorded where the output of every call of the convolution goes into the
    normalization and nowhere else, and every input of the normalization comes from there.
    """
    if not any(isinstance(layer, FROZEN_NORMS) for layer in network.modules()):
        return []
    with ExitStack() as stack:
        stack.enter_context(_evaluation_mode(network))
        uses = _Uses()
        for layer in network.modules():
            for handle in uses.watch(layer):
                stack.callback(handle.remove)
        with torch.no_grad(), uses:
            network.forward(image)  # not called: hooks of the network itself are not for this pass
    return uses.pairs()


def sequential_pairs(network: nn.Module) -> list[NormPair]:
    """The pairs that are neighbors in an nn.Sequential, wherever it stands in a network."""
    pairs = []
    for owner in network.modules():
        if isinstance(owner, nn.Sequential) and type(owner).forward is nn.Sequential.forward:
            for conv, norm in pairwise(owner):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, FROZEN_NORMS):
                    pairs.append(NormPair(conv, norm))
    return pairs


class _Uses(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The context in which it is recorded what consumes the outputs of convolutions."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.outputs: dict[int, tuple[Tensor, nn.Conv2d]] = {}  # by id; kept, so that ids stay
        self.consumers: dict[nn.Conv2d, set[nn.Module | None]] = defaultdict(set)
        self.sources: dict[nn.Module, set[nn.Conv2d | None]] = defaultdict(set)
        self.running: tuple[nn.Module, Tensor] | None = None  # a normalization and its input

    def watch(self, layer: nn.Module) -> Iterator[Any]:
        """Handles of the hooks on a layer."""
        if isinstance(layer, nn.Conv2d):
            yield layer.register_forward_hook(self._after_conv)
        elif isinstance(layer, FROZEN_NORMS):
            yield layer.register_forward_pre_hook(self._before_norm)
            yield layer.register_forward_hook(self._after_norm)

    def pairs(self) -> list[NormPair]:
        """The convolutions with one consumer, where they are its only source."""
        found = []
        for conv, consumers in self.consumers.items():
            norm = next(iter(consumers))
            if len(consumers) == 1 and norm is not None and self.sources[norm] == {conv}:
                found.append(NormPair(conv, norm))
        return found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for x in tree_leaves((args, kwargs)):
            if isinstance(x, Tensor) and id(x) in self.outputs:
                own = self.running is not None and self.running[1] is x
                norm = self.running[0] if self.running is not None and own else None
                self.consumers[self.outputs[id(x)][1]].add(norm)
        return func(*args, **(kwargs or {}))

    def _after_conv(self, layer: nn.Conv2d, inputs: Any, output: Tensor) -> None:
        self.outputs[id(output)] = (output, layer)

    def _before_norm(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.running = (layer, inputs[0])
        self.sources[layer].add(self.outputs.get(id(inputs[0]), (None, None))[1])

    def _after_norm(self, layer: nn.Module, inputs: Any, output: Tensor) -> None:
        self.running = None


@contextmanager
def _evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, after which each layer is in its own mode again."""
    modes = {layer: layer.training for layer in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for layer, mode in modes.items():
            layer.training = mode
