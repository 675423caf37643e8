"""Options of the detector: backbone, neck, first stage, second stage."""

from centernet2.config.option import Floats, Group, Ints, Names, option


class ModelOptions(Group):
    """Which parts make up the detector."""

    meta_architecture: str = option(
        "MODEL.META_ARCHITECTURE", "GeneralizedRCNN", "CenterNetDetector has no second stage"
    )
    backbone: str = option(
        "MODEL.BACKBONE.NAME",
        "build_resnet_backbone",
        "backbone and neck, as builders/network.py lists them",
    )
    proposal_generator: str = option(
        "MODEL.PROPOSAL_GENERATOR.NAME", "RPN", "the first stage: CenterNet"
    )
    roi_heads: str = option(
        "MODEL.ROI_HEADS.NAME",
        "Res5ROIHeads",
        "CustomCascadeROIHeads, or CustomROIHeads: one stage",
    )
    box_head: str = option("MODEL.ROI_BOX_HEAD.NAME", "", "FastRCNNConvFCHead")
    mask_on: bool = option("MODEL.MASK_ON", False, "predict instance masks")
    mask_head: str = option(
        "MODEL.ROI_MASK_HEAD.NAME", "MaskRCNNConvUpsampleHead", "MaskRCNNConvUpsampleHead"
    )
    weights: str = option("MODEL.WEIGHTS", "", "file to start from")
    device: str = option(
        "MODEL.DEVICE",
        "cuda",
        "cuda, npu, xpu, mps or cpu; the best one there is where it is missing",
    )


class PreprocessOptions(Group):
    """What the weights expect of images."""

    pixel_mean: Floats = option(
        "MODEL.PIXEL_MEAN", (103.53, 116.28, 123.675), "mean per channel, in INPUT.FORMAT's order"
    )
    pixel_std: Floats = option("MODEL.PIXEL_STD", (1.0, 1.0, 1.0), "standard deviation per channel")
    format: str = option("INPUT.FORMAT", "BGR", "channel order: BGR or RGB")


class ResNetOptions(Group):
    """Residual backbones."""

    depth: int = option("MODEL.RESNETS.DEPTH", 50, "18, 34, 50, 101 or 152 layers")
    out_features: Names = option("MODEL.RESNETS.OUT_FEATURES", ("res4",), "maps handed to the neck")
    freeze_at: int = option(
        "MODEL.BACKBONE.FREEZE_AT", 2, "freeze up to this stage: 1 the stem, 2 res2; 0 trains all"
    )
    norm: str = option("MODEL.RESNETS.NORM", "FrozenBN", "FrozenBN, BN, SyncBN or GN")
    num_groups: int = option(
        "MODEL.RESNETS.NUM_GROUPS", 1, "groups of the 3x3 convolutions (ResNeXt: 32)"
    )
    width_per_group: int = option(
        "MODEL.RESNETS.WIDTH_PER_GROUP", 64, "channels of a group in res2 (ResNeXt: 8)"
    )
    stem_out_channels: int = option("MODEL.RESNETS.STEM_OUT_CHANNELS", 64, "channels of the stem")
    res2_out_channels: int = option(
        "MODEL.RESNETS.RES2_OUT_CHANNELS", 256, "channels of res2, doubled by each stage"
    )
    res5_dilation: int = option("MODEL.RESNETS.RES5_DILATION", 1, "dilation of res5")
    stride_in_1x1: bool = option(
        "MODEL.RESNETS.STRIDE_IN_1X1", True, "stride in the 1x1 convolution (MSRA's weights)"
    )


class DeformOptions(Group):
    """Deformable convolutions in residual backbones (arXiv 1811.11168)."""

    on_per_stage: tuple[bool, ...] = option(
        "MODEL.RESNETS.DEFORM_ON_PER_STAGE", (False,) * 4, "for res2 to res5"
    )
    modulated: bool = option(
        "MODEL.RESNETS.DEFORM_MODULATED", False, "weigh every sample by a learned mask"
    )
    num_groups: int = option(
        "MODEL.RESNETS.DEFORM_NUM_GROUPS", 1, "groups of channels with offsets of their own"
    )


class DLAOptions(Group):
    """Deep layer aggregation (arXiv 1707.06484)."""

    num_layers: int = option("MODEL.DLA.NUM_LAYERS", 34, "34")
    out_features: Names = option("MODEL.DLA.OUT_FEATURES", ("dla2",), "maps handed on")
    norm: str = option("MODEL.DLA.NORM", "BN", "BN or SyncBN")
    use_dla_up: bool = option("MODEL.DLA.USE_DLA_UP", True, "merge all maps into one of stride 4")
    dla_up_in_features: Names = option(
        "MODEL.DLA.DLAUP_IN_FEATURES", ("dla3", "dla4", "dla5"), "maps merged"
    )
    dla_up_node: str = option("MODEL.DLA.DLAUP_NODE", "conv", "conv or dcn")
    ms_output: bool = option("MODEL.DLA.MS_OUTPUT", False, "hand on all merged maps")


class TimmOptions(Group):
    """Any network of timm as the backbone: MODEL.BACKBONE.NAME timm. Its maps are called res2 (stride 4) to res5."""

    name: str = option("MODEL.TIMM.NAME", "", "ours: timm's name of the network")
    pretrained: bool = option(
        "MODEL.TIMM.PRETRAINED", False, "ours: download timm's weights to start training from"
    )
    out_indices: Ints = option(
        "MODEL.TIMM.OUT_INDICES",
        (),
        "ours: timm's numbers of the maps to use; empty: MODEL.FPN.IN_FEATURES",
    )
    neck: str = option("MODEL.TIMM.NECK", "fpn", "ours: fpn, bifpn or fcos_bifpn")


class FPNOptions(Group):
    """Feature pyramid network."""

    in_features: Names = option("MODEL.FPN.IN_FEATURES", (), "maps of the backbone, finest first")
    out_channels: int = option("MODEL.FPN.OUT_CHANNELS", 256, "channels of every level")
    norm: str = option("MODEL.FPN.NORM", "", "normalisation layer")
    fuse_type: str = option("MODEL.FPN.FUSE_TYPE", "sum", "sum or avg")


class BiFPNOptions(Group):
    """Bidirectional feature pyramid (arXiv 1911.09070)."""

    num_levels: int = option("MODEL.BIFPN.NUM_LEVELS", 5, "levels, from p3")
    num_bifpn: int = option("MODEL.BIFPN.NUM_BIFPN", 6, "how often it is repeated")
    norm: str = option("MODEL.BIFPN.NORM", "GN", "normalisation layer")
    out_channels: int = option("MODEL.BIFPN.OUT_CHANNELS", 160, "channels of every level")
    separable_conv: bool = option(
        "MODEL.BIFPN.SEPARABLE_CONV", False, "depthwise separable convolutions"
    )


class CenterNetHeadOptions(Group):
    """Network of the first stage."""

    num_classes: int = option(
        "MODEL.CENTERNET.NUM_CLASSES", 80, "classes; taken from the data when training"
    )
    with_agn_hm: bool = option("MODEL.CENTERNET.WITH_AGN_HM", False, "predict objectness")
    only_proposal: bool = option("MODEL.CENTERNET.ONLY_PROPOSAL", False, "predict no classes")
    norm: str = option("MODEL.CENTERNET.NORM", "GN", "normalisation layer of the towers")
    num_cls_convs: int = option(
        "MODEL.CENTERNET.NUM_CLS_CONVS", 4, "convolutions of the class tower"
    )
    num_box_convs: int = option("MODEL.CENTERNET.NUM_BOX_CONVS", 4, "convolutions of the box tower")
    num_share_convs: int = option(
        "MODEL.CENTERNET.NUM_SHARE_CONVS", 0, "convolutions before both towers"
    )
    use_deformable: bool = option(
        "MODEL.CENTERNET.USE_DEFORMABLE", False, "last convolution of a tower is deformable"
    )
    prior_prob: float = option(
        "MODEL.CENTERNET.PRIOR_PROB", 0.01, "score of every location before training"
    )


class CenterNetOptions(Group):
    """Targets, losses and decoding of the first stage."""

    in_features: Names = option(
        "MODEL.CENTERNET.IN_FEATURES", ("p3", "p4", "p5", "p6", "p7"), "levels"
    )
    strides: Ints = option(
        "MODEL.CENTERNET.FPN_STRIDES", (8, 16, 32, 64, 128), "strides of the levels"
    )
    sizes_of_interest: tuple[Floats, ...] = option(
        "MODEL.CENTERNET.SOI",
        ((0, 80), (64, 160), (128, 320), (256, 640), (512, 10000000)),
        "half diagonals in pixels that each level is responsible for",
    )
    hm_min_overlap: float = option(
        "MODEL.CENTERNET.HM_MIN_OVERLAP", 0.8, "overlap that sets the width of a peak"
    )
    min_radius: float = option(
        "MODEL.CENTERNET.MIN_RADIUS", 4, "smallest width of a peak in pixels"
    )
    hm_focal_alpha: float = option(
        "MODEL.CENTERNET.HM_FOCAL_ALPHA", 0.25, "weight of positives in the focal loss"
    )
    hm_focal_beta: float = option(
        "MODEL.CENTERNET.HM_FOCAL_BETA", 4, "how far negatives near a peak are spared"
    )
    loss_gamma: float = option("MODEL.CENTERNET.LOSS_GAMMA", 2.0, "focusing exponent")
    sigmoid_clamp: float = option(
        "MODEL.CENTERNET.SIGMOID_CLAMP", 0.0001, "distance of probabilities from 0 and 1"
    )
    ignore_high_fp: float = option(
        "MODEL.CENTERNET.IGNORE_HIGH_FP", -1.0, "ignore negatives that score above; -1: none"
    )
    loc_loss_type: str = option("MODEL.CENTERNET.LOC_LOSS_TYPE", "giou", "iou, linear_iou or giou")
    pos_weight: float = option("MODEL.CENTERNET.POS_WEIGHT", 1.0, "weight of the loss at positives")
    neg_weight: float = option("MODEL.CENTERNET.NEG_WEIGHT", 1.0, "weight of the loss at negatives")
    reg_weight: float = option("MODEL.CENTERNET.REG_WEIGHT", 2.0, "weight of the box loss")
    not_norm_reg: bool = option(
        "MODEL.CENTERNET.NOT_NORM_REG", True, "weigh all regressed locations alike"
    )
    no_reduce: bool = option(
        "MODEL.CENTERNET.NO_REDUCE", False, "normalise by each process's own positives"
    )
    more_pos: bool = option(
        "MODEL.CENTERNET.MORE_POS", False, "well predicted neighbours of a centre are positives too"
    )
    more_pos_thresh: float = option(
        "MODEL.CENTERNET.MORE_POS_THRESH", 0.2, "greatest box loss of such a neighbour"
    )
    more_pos_topk: int = option(
        "MODEL.CENTERNET.MORE_POS_TOPK", 9, "neighbours considered per object"
    )
    not_clamp_box: bool = option(
        "INPUT.NOT_CLAMP_BOX", False, "boxes may reach over the border of the image"
    )
    as_proposal: bool = option(
        "MODEL.CENTERNET.AS_PROPOSAL", False, "class scores serve as proposals"
    )
    score_thresh: float = option("MODEL.CENTERNET.INFERENCE_TH", 0.05, "candidates score above it")
    center_nms: bool = option(
        "MODEL.CENTERNET.CENTER_NMS", False, "keep local maxima instead of removing overlaps"
    )
    not_nms: bool = option("MODEL.CENTERNET.NOT_NMS", False, "do not remove overlapping boxes")
    pre_nms_topk_train: int = option(
        "MODEL.CENTERNET.PRE_NMS_TOPK_TRAIN", 1000, "candidates per level, training"
    )
    pre_nms_topk_test: int = option(
        "MODEL.CENTERNET.PRE_NMS_TOPK_TEST", 1000, "candidates per level"
    )
    post_nms_topk_train: int = option(
        "MODEL.CENTERNET.POST_NMS_TOPK_TRAIN", 100, "boxes per image, training"
    )
    post_nms_topk_test: int = option("MODEL.CENTERNET.POST_NMS_TOPK_TEST", 100, "boxes per image")
    nms_thresh_train: float = option(
        "MODEL.CENTERNET.NMS_TH_TRAIN", 0.6, "overlap allowed, training"
    )
    nms_thresh_test: float = option("MODEL.CENTERNET.NMS_TH_TEST", 0.6, "overlap allowed")


class RoIHeadsOptions(Group):
    """Sampling, losses and selection of the second stage."""

    in_features: Names = option(
        "MODEL.ROI_HEADS.IN_FEATURES", ("res4",), "levels that regions are pooled from"
    )
    num_classes: int = option(
        "MODEL.ROI_HEADS.NUM_CLASSES", 80, "classes; taken from the data when training"
    )
    box_reg_loss_type: str = option(
        "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE", "smooth_l1", "smooth_l1, giou, diou or ciou"
    )
    box_reg_loss_weight: float = option(
        "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT", 1.0, "weight of the box loss"
    )
    smooth_l1_beta: float = option(
        "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA", 0.0, "where the loss turns linear; 0 is L1"
    )
    use_sigmoid_ce: bool = option(
        "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", False, "a sigmoid per class instead of a softmax"
    )
    use_fed_loss: bool = option(
        "MODEL.ROI_BOX_HEAD.USE_FED_LOSS", False, "federated loss, for LVIS"
    )
    fed_loss_num_cat: int = option(
        "MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CAT", 50, "classes judged in each step"
    )
    mult_proposal_score: bool = option(
        "MODEL.ROI_BOX_HEAD.MULT_PROPOSAL_SCORE", False, "join the first stage's score"
    )
    batch_size_per_image: int = option(
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 512, "regions sampled per image"
    )
    positive_fraction: float = option(
        "MODEL.ROI_HEADS.POSITIVE_FRACTION", 0.25, "largest share of positives"
    )
    proposal_append_gt: bool = option(
        "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT", True, "objects are regions too, in training"
    )
    score_thresh: float = option(
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.05, "detections score above it"
    )
    nms_thresh: float = option(
        "MODEL.ROI_HEADS.NMS_THRESH_TEST", 0.5, "overlap allowed between detections of a class"
    )
    detections_per_image: int = option(
        "TEST.DETECTIONS_PER_IMAGE", 100, "most detections per image"
    )


class CascadeOptions(Group):
    """What differs from stage to stage."""

    ious: Floats = option(
        "MODEL.ROI_BOX_CASCADE_HEAD.IOUS", (0.5, 0.6, 0.7), "overlap of a positive region"
    )
    bbox_reg_weights: tuple[Floats, ...] = option(
        "MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS",
        ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0)),
        "scale of the four deltas",
    )


class OneStageOptions(Group):
    """What stands for CascadeOptions where there is one stage only."""

    ious: Floats = option("MODEL.ROI_HEADS.IOU_THRESHOLDS", (0.5,), "overlap of a positive region")
    iou_labels: Ints = option(
        "MODEL.ROI_HEADS.IOU_LABELS", (0, 1), "meaning of regions below and above it"
    )
    bbox_reg_weights: Floats = option(
        "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", (10.0, 10.0, 5.0, 5.0), "scale of the deltas"
    )


class BoxHeadOptions(Group):
    """Network of a box head."""

    num_conv: int = option("MODEL.ROI_BOX_HEAD.NUM_CONV", 0, "3x3 convolutions")
    conv_dim: int = option("MODEL.ROI_BOX_HEAD.CONV_DIM", 256, "their channels")
    norm: str = option("MODEL.ROI_BOX_HEAD.NORM", "", "their normalisation layer")
    num_fc: int = option("MODEL.ROI_BOX_HEAD.NUM_FC", 0, "fully connected layers")
    fc_dim: int = option("MODEL.ROI_BOX_HEAD.FC_DIM", 1024, "their width")


class BoxPredictorOptions(Group):
    """Predictions on top of a box head."""

    cls_agnostic_bbox_reg: bool = option(
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", False, "one box for all classes"
    )
    prior_prob: float = option(
        "MODEL.ROI_BOX_HEAD.PRIOR_PROB", 0.01, "class probability before training, sigmoid only"
    )
    cat_freq_path: str = option(
        "MODEL.ROI_BOX_HEAD.CAT_FREQ_PATH",
        "datasets/lvis/lvis_v1_train_cat_info.json",
        "images per class",
    )
    fed_loss_freq_weight: float = option(
        "MODEL.ROI_BOX_HEAD.FED_LOSS_FREQ_WEIGHT", 0.5, "exponent on the frequency"
    )


class BoxPoolerOptions(Group):
    """Pooling for box heads."""

    resolution: int = option("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", 14, "cells per axis")
    sampling_ratio: int = option(
        "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", 0, "samples per cell and axis; 0 adapts"
    )
    pooler_type: str = option(
        "MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIAlignV2", "ROIAlignV2 or ROIAlign"
    )


class MaskHeadOptions(Group):
    """Network of the mask head."""

    num_conv: int = option("MODEL.ROI_MASK_HEAD.NUM_CONV", 0, "3x3 convolutions")
    conv_dim: int = option("MODEL.ROI_MASK_HEAD.CONV_DIM", 256, "their channels")
    norm: str = option("MODEL.ROI_MASK_HEAD.NORM", "", "their normalisation layer")
    cls_agnostic_mask: bool = option(
        "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK", False, "one mask for all classes"
    )


class MaskPoolerOptions(Group):
    """Pooling for the mask head."""

    resolution: int = option("MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", 14, "cells per axis")
    sampling_ratio: int = option(
        "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO", 0, "samples per cell and axis; 0 adapts"
    )
    pooler_type: str = option(
        "MODEL.ROI_MASK_HEAD.POOLER_TYPE", "ROIAlignV2", "ROIAlignV2 or ROIAlign"
    )
