"""Deep Layer Aggregation (arXiv 1707.06484) as a detection backbone."""

from dataclasses import dataclass

from centernet2.models.backbones.backbone import Backbone


@dataclass(frozen=True)
class DLAOptions:
    """Deep layer aggregation (arXiv 1707.06484)."""

    num_layers: int = 34
    norm: str = "BN"


class DLA(Backbone):
    """DLA: feature maps dla2 (stride 4) to dla5, nothing frozen, as published."""

    def __init__(self, options: DLAOptions) -> None:
        super().__init__(
            name=f"dla{options.num_layers}",
            out_features=("dla2", "dla3", "dla4", "dla5"),
            freeze_at=0,
            norm=options.norm,
            prefix="dla",
        )
