"""Options of the reference that have no effect here, with the reasons."""

from dataclasses import dataclass

from centernet2.config.option import Option


@dataclass(frozen=True)
class IgnoredOptions:
    """Ignored options.

    A value that asks for other behavior is logged.
    """

    proposal_generator: str = "RPN"
    box_head: str = ""
    dla_out_features: tuple[str, ...] = ("dla2",)
    use_dla_up: bool = True
    mask_format: str = "polygon"
    reset_iter: bool = False


IGNORED_KEYS = (
    Option("MODEL.PROPOSAL_GENERATOR.NAME", "ignored.proposal_generator",
           "ignored: the first stage is CenterNet"),
    Option("MODEL.ROI_BOX_HEAD.NAME", "ignored.box_head",
           "ignored: box heads are FastRCNNConvFCHead"),
    Option("MODEL.DLA.OUT_FEATURES", "ignored.dla_out_features",
           "ignored: MODEL.CENTERNET.IN_FEATURES selects the levels"),
    Option("MODEL.DLA.USE_DLA_UP", "ignored.use_dla_up",
           "ignored: build_dla_backbone always has a DLA-up; build_dla_fpn3_backbone has none"),
    Option("INPUT.MASK_FORMAT", "ignored.mask_format",
           "ignored: polygons and bitmasks are both read"),
    Option("SOLVER.RESET_ITER", "ignored.reset_iter",
           "ignored: --weights starts at iteration 0, --resume continues a training run"),
)  # fmt: skip

# accepted without a message: these values ask for what happens in any case; other keys: the default
WITHOUT_MESSAGE = {
    "MODEL.PROPOSAL_GENERATOR.NAME": ("CenterNet",),
    "MODEL.ROI_BOX_HEAD.NAME": ("", "FastRCNNConvFCHead"),
    "INPUT.MASK_FORMAT": ("polygon", "bitmask"),
}
