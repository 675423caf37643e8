"""Keys of the options for the detector: parts, preprocessing, backbone, neck."""

from centernet2.config.option import Option
from centernet2.ranges import Accepted, above, at_least, between

MODEL_KEYS = (
    # Parts of the detector.
    Option("MODEL.META_ARCHITECTURE", "model.meta_architecture",
           "GeneralizedRCNN (two stages) or CenterNetDetector (first stage only)"),
    Option("MODEL.BACKBONE.NAME", "model.backbone",
           "backbone and neck: build_p67_resnet_fpn_backbone, build_p35_resnet_fpn_backbone, "
           "build_resnet_bifpn_backbone, build_fcos_resnet_bifpn_backbone, "
           "build_p67_res2net_fpn_backbone, build_res2net_bifpn_backbone, build_dla_backbone, "
           "build_dlaup_backbone, build_dla_fpn3_backbone, build_p37_dla_bifpn_backbone, "
           "build_p35_fcos_dla_bifpn_backbone, build_p37_fcos_dla_bifpn_backbone or (ours) timm; "
           "see docs/backbones.md"),
    Option("MODEL.ROI_HEADS.NAME", "model.roi_heads",
           "CustomCascadeROIHeads (a cascade) or CustomROIHeads (one box stage)"),
    Option("MODEL.MASK_ON", "model.mask_on", "predict instance masks"),
    Option("MODEL.ROI_MASK_HEAD.NAME", "model.mask_head", "MaskRCNNConvUpsampleHead, the only one"),
    Option("MODEL.WEIGHTS", "model.weights",
           "initial weights: a file, zoo:NAME or detectron2://..."),
    Option("MODEL.DEVICE", "model.device",
           "cuda, npu, xpu, mps or cpu; if this machine does not have it, the best available "
           "device is used; --device takes precedence"),
    # Preprocessing, as the weights expect it.
    Option("MODEL.PIXEL_MEAN", "preprocess.pixel_mean",
           "mean per channel, in the order of INPUT.FORMAT", Accepted(count=3)),
    Option("MODEL.PIXEL_STD", "preprocess.pixel_std",
           "standard deviation per channel", above(0, count=3)),
    Option("INPUT.FORMAT", "preprocess.format", "channel order: BGR or RGB"),
    # Residual backbones.
    Option("MODEL.RESNETS.DEPTH", "backbone.resnet.depth",
           "18, 34, 50, 101 or 152 layers", at_least(1)),
    Option("MODEL.RESNETS.OUT_FEATURES", "backbone.resnet.out_features",
           "feature maps that the backbone returns", Accepted(nonempty=True)),
    Option("MODEL.BACKBONE.FREEZE_AT", "backbone.resnet.freeze_at",
           "freeze up to this stage (1: stem, 2: res2); 0: freeze nothing", between(0, 5)),
    Option("MODEL.RESNETS.NORM", "backbone.resnet.norm", "FrozenBN, BN, SyncBN or GN"),
    Option("MODEL.RESNETS.NUM_GROUPS", "backbone.resnet.num_groups",
           "groups of the 3x3 convolutions (ResNeXt: 32)", at_least(1)),
    Option("MODEL.RESNETS.WIDTH_PER_GROUP", "backbone.resnet.width_per_group",
           "channels per group in res2 (ResNeXt: 8)", at_least(1)),
    Option("MODEL.RESNETS.STEM_OUT_CHANNELS", "backbone.resnet.stem_out_channels",
           "channels of the stem", at_least(1)),
    Option("MODEL.RESNETS.RES2_OUT_CHANNELS", "backbone.resnet.res2_out_channels",
           "channels of res2; each later stage doubles them", at_least(1)),
    Option("MODEL.RESNETS.RES5_DILATION", "backbone.resnet.res5_dilation",
           "dilation of res5", at_least(1)),
    Option("MODEL.RESNETS.STRIDE_IN_1X1", "backbone.resnet.stride_in_1x1",
           "stride in the 1x1 convolution (MSRA weights), not in the 3x3"),
    # Deformable convolutions in residual backbones (arXiv 1811.11168).
    Option("MODEL.RESNETS.DEFORM_ON_PER_STAGE", "backbone.deform.on_per_stage",
           "whether res2, res3, res4, res5 are deformable", Accepted(count=4)),
    Option("MODEL.RESNETS.DEFORM_MODULATED", "backbone.deform.modulated",
           "modulated deformable convolutions (DCNv2)"),
    Option("MODEL.RESNETS.DEFORM_NUM_GROUPS", "backbone.deform.num_groups",
           "groups of channels with separate offsets", at_least(1)),
    # Deep layer aggregation (arXiv 1707.06484).
    Option("MODEL.DLA.NUM_LAYERS", "backbone.dla.num_layers", "34, the only one", at_least(1)),
    Option("MODEL.DLA.NORM", "backbone.dla.norm",
           "normalization of backbone and neck: BN or SyncBN"),
    # Backbones of timm (MODEL.BACKBONE.NAME timm).
    Option("MODEL.TIMM.NAME", "backbone.timm.name",
           "ours: name of the network in timm, such as convnext_tiny; see docs/backbones.md"),
    Option("MODEL.TIMM.PRETRAINED", "backbone.timm.pretrained",
           "ours: start from the pretrained weights of timm, of an installed package or "
           "downloaded"),
    Option("MODEL.TIMM.OUT_INDICES", "backbone.timm.out_indices",
           "ours: indices of the feature maps in timm; empty: MODEL.FPN.IN_FEATURES", at_least(0)),
    Option("MODEL.TIMM.NECK", "backbone.timm.neck",
           "ours: neck of the timm backbone: fpn, bifpn or fcos_bifpn"),
    # Feature pyramid network.
    Option("MODEL.FPN.IN_FEATURES", "neck.fpn.in_features",
           "input feature maps of the neck (FPN or BiFPN), finest first"),
    Option("MODEL.FPN.OUT_CHANNELS", "neck.fpn.out_channels",
           "channels of every level", at_least(1)),
    Option("MODEL.FPN.NORM", "neck.fpn.norm", "normalization layer: '' (none), BN, SyncBN, GN ..."),
    Option("MODEL.FPN.FUSE_TYPE", "neck.fpn.fuse_type",
           "how top-down and lateral feature maps are combined: sum or avg"),
    # Bidirectional feature pyramid (arXiv 1911.09070).
    Option("MODEL.BIFPN.NUM_LEVELS", "neck.bifpn.num_levels",
           "number of levels, from p3", at_least(1)),
    Option("MODEL.BIFPN.NUM_BIFPN", "neck.bifpn.num_bifpn", "number of BiFPN cells", at_least(1)),
    Option("MODEL.BIFPN.NORM", "neck.bifpn.norm",
           "normalization layer: '' (none), BN, SyncBN, GN ..."),
    Option("MODEL.BIFPN.OUT_CHANNELS", "neck.bifpn.out_channels",
           "channels of every level", at_least(1)),
    Option("MODEL.BIFPN.SEPARABLE_CONV", "neck.bifpn.separable_conv",
           "depthwise separable convolutions"),
    Option("MODEL.BIFPN.SIZE_DIVISIBILITY", "neck.bifpn.size_divisibility",
           "ours: images are padded to multiples of this, or of the stride of the coarsest level",
           at_least(1)),
    # DLA-up: iterative deep aggregation of the feature maps of DLA.
    Option("MODEL.DLA.DLAUP_IN_FEATURES", "neck.dla_up.in_features",
           "feature maps to merge", Accepted(nonempty=True)),
    Option("MODEL.DLA.DLAUP_NODE", "neck.dla_up.node", "conv, or dcn (deformable)"),
    Option("MODEL.DLA.MS_OUTPUT", "neck.dla_up.ms_output",
           "return all merged levels, not only the finest"),
)  # fmt: skip
