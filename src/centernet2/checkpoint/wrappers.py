"""What training programs put around weights: keys, and prefixes of names."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

logger = logging.getLogger(__name__)

PARTS = ("backbone.", "neck.", "proposal_generator.", "roi_heads.")  # name prefixes of a detector
KEYS = (  # of the weights in a checkpoint: the first one that it has; averaged weights come last
    "model", "state_dict", "model_state_dict", "model_state", "blobs", "net", "network", "weights",
    "params", "module", "model_ema", "ema", "ema_model", "ema_state", "ema_state_dict",
    "state_dict_ema", "params_ema", "student", "teacher",
)  # fmt: skip
# of modules around others: torch.compile, FSDP, gradient checkpointing
INNER = re.compile(r"(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
BEFORE_PARTS = re.compile(rf"((?:\w+\.)*?)(?:{'|'.join(map(re.escape, PARTS))})")
BEFORE_ALL = ("module.", "model.", "net.")  # of a backbone's names, if it stands before all


def inside_of_keys(content: Any) -> Any:
    """Return the weights that a checkpoint has under a key; others as they are."""
    while isinstance(content, Mapping):
        found = (content.get(key) for key in KEYS)
        inner = next((each for each in found if isinstance(each, Mapping) and each), None)
        if inner is None:
            break
        content = inner
    return content


def without_prefixes(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return tensors by the names that they have in the detector or backbone itself.

    Of several detectors, such as a student and its teacher, it is the first one of the file.
    """
    state = {INNER.sub("", name): tensor for name, tensor in tensors.items()}
    starts = [match[1] for name in state if (match := BEFORE_PARTS.match(name))]
    if prefixes := list(dict.fromkeys(starts)):
        if len(prefixes) > 1:
            named = ", ".join(f"{each or 'no prefix'}" for each in prefixes)
            logger.warning("%s holds several detectors (%s); the first is used", path, named)
        return {name.removeprefix(prefixes[0]): tensor for name, tensor in state.items()}
    while before := next((p for p in BEFORE_ALL if all(n.startswith(p) for n in state)), None):
        state = {name.removeprefix(before): tensor for name, tensor in state.items()}
    return state
