"""Search for pairs of a convolution and the normalization directly behind it."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from centernet2.layers.frozen_norm import FrozenBatchNorm2d


class NormPair(NamedTuple):
    """A convolution and the frozen normalization that is the only user of its output."""

    conv: nn.Conv2d
    norm: nn.Module


def find_norm_pairs(network: nn.Module, image: Tensor) -> list[NormPair]:
    """Find the pairs in a network, in evaluation mode, by running it on an image.

    In a pair, all outputs of the convolution go into the normalization and nowhere else, and all
    inputs of the normalization come from the convolution.

    Args:
        network: in evaluation mode, so that running it changes no statistics.
        image: [N, 3, H, W].
    """
    if not any(isinstance(layer, FrozenBatchNorm2d) for layer in network.modules()):
        return []
    with ExitStack() as stack:
        uses = _Uses()
        for layer in network.modules():
            for handle in uses.watch(layer):
                stack.callback(handle.remove)
        with torch.no_grad(), uses:
            network.forward(image)  # without the hooks of the network itself
    return uses.pairs()


def sequential_pairs(network: nn.Module) -> list[NormPair]:
    """Find the pairs that are neighbors in any nn.Sequential of a network."""
    pairs = []
    for owner in network.modules():
        if isinstance(owner, nn.Sequential) and type(owner).forward is nn.Sequential.forward:
            for conv, norm in pairwise(owner):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d):
                    pairs.append(NormPair(conv, norm))
    return pairs


class _Uses(TorchFunctionMode):
    """Context that records the users of the outputs of convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: dict[int, tuple[Tensor, nn.Conv2d]] = {}  # by id; kept, so ids stay unique
        self.consumers: dict[nn.Conv2d, set[nn.Module | None]] = defaultdict(set)
        self.sources: dict[nn.Module, set[nn.Conv2d | None]] = defaultdict(set)
        self.running: tuple[nn.Module, Tensor] | None = None  # a normalization and its input

    def watch(self, layer: nn.Module) -> Iterator[Any]:
        """Register hooks on a layer, and yield their handles."""
        if isinstance(layer, nn.Conv2d):
            yield layer.register_forward_hook(self._after_conv)
        elif isinstance(layer, FrozenBatchNorm2d):
            yield layer.register_forward_pre_hook(self._before_norm)
            yield layer.register_forward_hook(self._after_norm)

    def pairs(self) -> list[NormPair]:
        """Return the pairs: a convolution with one user, which has no other source."""
        pairs = []
        for conv, consumers in self.consumers.items():
            norm = next(iter(consumers))
            if len(consumers) == 1 and norm is not None and self.sources[norm] == {conv}:
                pairs.append(NormPair(conv, norm))
        return pairs

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not any(isinstance(x, Tensor) for x in tree_leaves(result)):
            return result  # a property, such as the shape
        for x in tree_leaves((args, kwargs)):
            if isinstance(x, Tensor) and id(x) in self.outputs:
                own = self.running is not None and self.running[1] is x
                norm = self.running[0] if self.running is not None and own else None
                self.consumers[self.outputs[id(x)][1]].add(norm)
        return result

    def _after_conv(self, layer: nn.Conv2d, inputs: Any, output: Tensor) -> None:
        self.outputs[id(output)] = (output, layer)

    def _before_norm(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.running = (layer, inputs[0])
        self.sources[layer].add(self.outputs.get(id(inputs[0]), (None, None))[1])

    def _after_norm(self, layer: nn.Module, inputs: Any, output: Tensor) -> None:
        self.running = None
