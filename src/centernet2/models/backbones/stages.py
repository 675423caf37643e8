"""Stages of a backbone: units of learning rates, recomputation and sharding."""

from torch import nn


def backbone_stages(backbone: nn.Module) -> list[nn.Module]:
    """Return the stages of a backbone: children with parameters, below any wrappers."""
    stages = [backbone]
    while len(stages) == 1:
        children = [
            child for child in stages[0].children() if next(child.parameters(), None) is not None
        ]
        if not children:
            return stages
        stages = children
    return stages
