"""Running statistics of batch normalisation: the one thing of a model that a forward pass changes."""

import torch
from torch import Tensor, nn


class BatchStatistics:
    """Takes back what a skipped step has done to the means and variances: one NaN in them would stay for ever.

    Args:
        model: whose statistics keep their place in memory.
    """

    def __init__(self, model: nn.Module) -> None:
        norms = [
            module
            for module in model.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
        ]
        self._current = [buffer for norm in norms for buffer in norm.buffers(recurse=False)]
        self._kept = [buffer.clone() for buffer in self._current]

    @torch.no_grad()
    def keep(self) -> None:
        """Remembers the statistics before a step."""
        if self._current:
            torch._foreach_copy_(self._kept, self._current)

    @torch.no_grad()
    def restore_unless(self, finite: Tensor) -> None:
        """Puts the remembered ones back where the flag [] is False; the host need not know which it is."""
        for current, kept in zip(self._current, self._kept, strict=True):
            current.copy_(torch.where(finite, current, kept))
