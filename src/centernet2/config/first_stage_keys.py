"""Keys of the options for the first stage of the detector."""

from centernet2.config.option import Option
from centernet2.ranges import Accepted, above, at_least, between

FIRST_STAGE_KEYS = (
    # Network of the first stage.
    Option(
        "MODEL.CENTERNET.NUM_CLASSES",
        "head.num_classes",
        "number of classes; in training, that of the data",
        accepted=at_least(1),
    ),
    Option("MODEL.CENTERNET.WITH_AGN_HM", "head.objectness", "predict an objectness heat map"),
    Option(
        "MODEL.CENTERNET.ONLY_PROPOSAL",
        "head.only_objectness",
        "predict objectness only, no class heat maps",
    ),
    Option("MODEL.CENTERNET.NORM", "head.norm", "normalization layer of the towers"),
    Option(
        "MODEL.CENTERNET.NUM_CLS_CONVS",
        "head.num_class_convs",
        "number of convolutions of the class tower",
        accepted=at_least(0),
    ),
    Option(
        "MODEL.CENTERNET.NUM_BOX_CONVS",
        "head.num_box_convs",
        "number of convolutions of the box tower",
        accepted=at_least(0),
    ),
    Option(
        "MODEL.CENTERNET.NUM_SHARE_CONVS",
        "head.num_shared_convs",
        "number of convolutions before both towers",
        accepted=at_least(0),
    ),
    Option(
        "MODEL.CENTERNET.USE_DEFORMABLE",
        "head.deformable",
        "make the last convolution of each tower deformable",
    ),
    Option(
        "MODEL.CENTERNET.SEPARABLE_CONV",
        "head.separable",
        "ours: depthwise separable convolutions in the towers",
    ),
    Option(
        "MODEL.CENTERNET.PRIOR_PROB",
        "head.prior_prob",
        "initial score of every location",
        accepted=between(0, 1, excluded=(0, 1)),
    ),
    # Levels of the first stage.
    Option(
        "MODEL.CENTERNET.IN_FEATURES",
        "centernet.in_features",
        "levels of the neck to use",
        accepted=Accepted(nonempty=True),
    ),
    Option(
        "MODEL.CENTERNET.FPN_STRIDES",
        "centernet.strides",
        "strides of the levels",
        accepted=at_least(1, nonempty=True, ascending=True),
    ),
    Option(
        "MODEL.CENTERNET.AS_PROPOSAL",
        "centernet.class_proposals",
        "use class scores as proposal scores",
    ),
    # Targets of the first stage.
    Option(
        "MODEL.CENTERNET.SOI",
        "assigner.sizes_of_interest",
        "per level, range of half diagonals of its objects, in pixels",
        accepted=at_least(0, count=2, nonempty=True, ascending=True),
    ),
    Option(
        "MODEL.CENTERNET.HM_MIN_OVERLAP",
        "assigner.min_iou",
        "IoU that determines the radius of a heat-map peak",
        accepted=between(0, 1),
    ),
    Option(
        "MODEL.CENTERNET.MIN_RADIUS",
        "assigner.min_radius",
        "minimum radius of a heat-map peak, in pixels",
        accepted=above(0),
    ),
    Option(
        "MODEL.CENTERNET.MORE_POS",
        "assigner.more_positives",
        "also use locations next to a center as positives if their box loss is small",
    ),
    Option(
        "MODEL.CENTERNET.MORE_POS_THRESH",
        "assigner.more_positives_max_loss",
        "maximum box loss of such a location",
        accepted=at_least(0),
    ),
    Option(
        "MODEL.CENTERNET.MORE_POS_TOPK",
        "assigner.more_positives_topk",
        "maximum number of such locations per object",
        accepted=at_least(1),
    ),
    Option(
        "INPUT.NOT_CLAMP_BOX",
        "assigner.clamp_boxes",
        "do not clip boxes to the image; a center outside counts as one on the border",
        inverted=True,
    ),
    # Losses of the first stage.
    Option(
        "MODEL.CENTERNET.HM_FOCAL_ALPHA",
        "criterion.focal.alpha",
        "weight of positives in the focal loss",
        accepted=between(0, 1, also=-1),
    ),
    Option(
        "MODEL.CENTERNET.HM_FOCAL_BETA",
        "criterion.focal.beta",
        "exponent that reduces the weight of negatives near a peak",
        accepted=at_least(0),
    ),
    Option(
        "MODEL.CENTERNET.LOSS_GAMMA",
        "criterion.focal.gamma",
        "focusing exponent of the focal loss",
        accepted=at_least(0),
    ),
    Option(
        "MODEL.CENTERNET.SIGMOID_CLAMP",
        "criterion.focal.sigmoid_clamp",
        "minimum distance of probabilities from 0 and 1",
        accepted=between(0, 0.5, excluded=(0, 0.5)),
    ),
    Option(
        "MODEL.CENTERNET.IGNORE_HIGH_FP",
        "criterion.focal.ignore_high_fp",
        "ignore negatives with a score above this; -1: ignore none",
        accepted=between(0, 1, also=-1),
    ),
    Option(
        "MODEL.CENTERNET.LOC_LOSS_TYPE", "criterion.box_loss", "box loss: iou, linear_iou or giou"
    ),
    Option(
        "MODEL.CENTERNET.POS_WEIGHT",
        "criterion.positive_weight",
        "weight of the heat-map loss at positives",
        accepted=at_least(0),
    ),
    Option(
        "MODEL.CENTERNET.NEG_WEIGHT",
        "criterion.negative_weight",
        "weight of the heat-map loss at negatives",
        accepted=at_least(0),
    ),
    Option(
        "MODEL.CENTERNET.REG_WEIGHT",
        "criterion.box_weight",
        "weight of the box loss",
        accepted=at_least(0),
    ),
    Option(
        "MODEL.CENTERNET.NOT_NORM_REG",
        "criterion.weigh_boxes",
        "weight the box loss equally at all locations, not by the heat map",
        inverted=True,
    ),
    Option(
        "MODEL.CENTERNET.NO_REDUCE",
        "criterion.average_over_processes",
        "normalize losses by the positives of each process, not of all",
        inverted=True,
    ),
    # From heat maps to proposals.
    Option(
        "MODEL.CENTERNET.INFERENCE_TH",
        "decoder.score_threshold",
        "candidates must score above this",
        accepted=between(0, 1),
    ),
    Option(
        "MODEL.CENTERNET.CENTER_NMS",
        "decoder.center_nms",
        "keep local maxima of the heat map instead of NMS on boxes",
    ),
    Option("MODEL.CENTERNET.NOT_NMS", "decoder.nms", "no NMS on boxes", inverted=True),
    Option(
        "MODEL.CENTERNET.PRE_NMS_TOPK_TRAIN",
        "decoder.training.pre_nms_topk",
        "maximum candidates per level, in training",
        accepted=at_least(1),
    ),
    Option(
        "MODEL.CENTERNET.PRE_NMS_TOPK_TEST",
        "decoder.inference.pre_nms_topk",
        "maximum candidates per level, in inference",
        accepted=at_least(1),
    ),
    Option(
        "MODEL.CENTERNET.POST_NMS_TOPK_TRAIN",
        "decoder.training.post_nms_topk",
        "maximum proposals per image, in training",
        accepted=at_least(1),
    ),
    Option(
        "MODEL.CENTERNET.POST_NMS_TOPK_TEST",
        "decoder.inference.post_nms_topk",
        "maximum proposals per image, in inference",
        accepted=at_least(1),
    ),
    Option(
        "MODEL.CENTERNET.NMS_TH_TRAIN",
        "decoder.training.nms_threshold",
        "IoU threshold of NMS, in training",
        accepted=between(0, 1),
    ),
    Option(
        "MODEL.CENTERNET.NMS_TH_TEST",
        "decoder.inference.nms_threshold",
        "IoU threshold of NMS, in inference",
        accepted=between(0, 1),
    ),
)
