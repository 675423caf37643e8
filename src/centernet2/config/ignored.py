"""Options of the reference that change nothing here, each with the reason."""

from dataclasses import dataclass

from centernet2.config.option import Option


@dataclass(frozen=True)
class IgnoredOptions:
    """Options that are ignored; a value that asks for something else is logged."""

    proposal_generator: str = "RPN"
    box_head: str = ""
    dla_out_features: tuple[str, ...] = ("dla2",)
    use_dla_up: bool = True
    mask_format: str = "polygon"
    reset_iter: bool = False


IGNORED_KEYS = (
    Option(
        "MODEL.PROPOSAL_GENERATOR.NAME",
        "ignored.proposal_generator",
        "ignored: the first stage is CenterNet",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.NAME",
        "ignored.box_head",
        "ignored: box heads are FastRCNNConvFCHead",
    ),
    Option(
        "MODEL.DLA.OUT_FEATURES",
        "ignored.dla_out_features",
        "ignored: MODEL.CENTERNET.IN_FEATURES names the levels that are used",
    ),
    Option(
        "MODEL.DLA.USE_DLA_UP",
        "ignored.use_dla_up",
        "ignored: build_dla_backbone always merges the feature maps; see build_dla_fpn3_backbone",
    ),
    Option(
        "INPUT.MASK_FORMAT",
        "ignored.mask_format",
        "ignored: masks are read in any format, polygons or bitmasks",
    ),
    Option(
        "SOLVER.RESET_ITER",
        "ignored.reset_iter",
        "ignored: --weights starts at iteration 0, --resume where the run stopped",
    ),
)

# values that ask for what is done anyway, where the default is not the only one
DONE_ANYWAY = {
    "MODEL.PROPOSAL_GENERATOR.NAME": ("CenterNet",),
    "MODEL.ROI_BOX_HEAD.NAME": ("", "FastRCNNConvFCHead"),
    "INPUT.MASK_FORMAT": ("polygon", "bitmask"),
}
