"""Training and evaluation mode of models."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from weakref import WeakKeyDictionary

from torch import nn

from centernet2.structures import ImageDetector


@dataclass
class _Use:
    """The blocks that have a model in evaluation mode, of one thread or several."""

    count: int = 0
    training: list[nn.Module] = field(default_factory=list)  # to be restored after the last one


_uses: WeakKeyDictionary[ImageDetector | nn.Module, _Use] = WeakKeyDictionary()
_lock = Lock()


@contextmanager
def evaluation_mode(model: ImageDetector | nn.Module) -> Iterator[None]:
    """Set evaluation mode in the block, then restore the mode of each module.

    The modes may differ: frozen parts of a model in training may be in evaluation mode. Where
    threads share a model, the mode is restored after the last of their blocks.
    """
    with _lock:
        use = _uses.setdefault(model, _Use())
        if use.count == 0:
            use.training = [module for module in model.modules() if module.training]
            if use.training:
                model.eval()
        use.count += 1
    try:
        yield
    finally:
        with _lock:
            use.count -= 1
            if use.count == 0:
                for module in use.training:
                    module.training = True
                del _uses[model]  # its list of modules would keep the model alive
