"""Keys of the detector's options: its parts, preprocessing, backbone, neck."""

from centernet2.config.option import Option

MODEL_KEYS = (
    # Which parts make up the detector.
    Option(
        "MODEL.META_ARCHITECTURE",
        "model.meta_architecture",
        "CenterNetDetector has no second stage",
    ),
    Option(
        "MODEL.BACKBONE.NAME",
        "model.backbone",
        "backbone and neck; docs/backbones.md lists the names",
    ),
    Option(
        "MODEL.ROI_HEADS.NAME",
        "model.roi_heads",
        "CustomCascadeROIHeads, or CustomROIHeads: one stage",
    ),
    Option("MODEL.MASK_ON", "model.mask_on", "predict instance masks"),
    Option("MODEL.ROI_MASK_HEAD.NAME", "model.mask_head", "MaskRCNNConvUpsampleHead"),
    Option("MODEL.WEIGHTS", "model.weights", "file to start from"),
    Option(
        "MODEL.DEVICE",
        "model.device",
        "cuda, npu, xpu, mps or cpu; the best available where it is missing; --device comes first",
    ),
    # What the weights expect of images.
    Option(
        "MODEL.PIXEL_MEAN", "preprocess.pixel_mean", "mean per channel, in INPUT.FORMAT's order"
    ),
    Option("MODEL.PIXEL_STD", "preprocess.pixel_std", "standard deviation per channel"),
    Option("INPUT.FORMAT", "preprocess.format", "channel order: BGR or RGB"),
    # Residual backbones.
    Option("MODEL.RESNETS.DEPTH", "backbone.resnet.depth", "18, 34, 50, 101 or 152 layers"),
    Option(
        "MODEL.RESNETS.OUT_FEATURES", "backbone.resnet.out_features", "feature maps for the neck"
    ),
    Option(
        "MODEL.BACKBONE.FREEZE_AT",
        "backbone.resnet.freeze_at",
        "freeze up to this stage: 1 is the stem, 2 res2; 0 freezes nothing",
    ),
    Option("MODEL.RESNETS.NORM", "backbone.resnet.norm", "FrozenBN, BN, SyncBN or GN"),
    Option(
        "MODEL.RESNETS.NUM_GROUPS",
        "backbone.resnet.num_groups",
        "groups of the 3x3 convolutions (ResNeXt: 32)",
    ),
    Option(
        "MODEL.RESNETS.WIDTH_PER_GROUP",
        "backbone.resnet.width_per_group",
        "channels of a group in res2 (ResNeXt: 8)",
    ),
    Option(
        "MODEL.RESNETS.STEM_OUT_CHANNELS",
        "backbone.resnet.stem_out_channels",
        "channels of the stem",
    ),
    Option(
        "MODEL.RESNETS.RES2_OUT_CHANNELS",
        "backbone.resnet.res2_out_channels",
        "channels of res2, doubled by each stage",
    ),
    Option("MODEL.RESNETS.RES5_DILATION", "backbone.resnet.res5_dilation", "dilation of res5"),
    Option(
        "MODEL.RESNETS.STRIDE_IN_1X1",
        "backbone.resnet.stride_in_1x1",
        "stride in the 1x1 convolution (MSRA's weights)",
    ),
    # Deformable convolutions in residual backbones (arXiv 1811.11168).
    Option("MODEL.RESNETS.DEFORM_ON_PER_STAGE", "backbone.deform.on_per_stage", "for res2 to res5"),
    Option(
        "MODEL.RESNETS.DEFORM_MODULATED",
        "backbone.deform.modulated",
        "weigh every sample by a learned mask",
    ),
    Option(
        "MODEL.RESNETS.DEFORM_NUM_GROUPS",
        "backbone.deform.num_groups",
        "groups of channels with offsets of their own",
    ),
    # Deep layer aggregation (arXiv 1707.06484).
    Option("MODEL.DLA.NUM_LAYERS", "backbone.dla.num_layers", "34"),
    Option("MODEL.DLA.NORM", "backbone.dla.norm", "BN or SyncBN, of backbone and neck"),
    # Any network of timm as the backbone (MODEL.BACKBONE.NAME timm).
    Option("MODEL.TIMM.NAME", "backbone.timm.name", "ours: timm's name of the network"),
    Option(
        "MODEL.TIMM.PRETRAINED",
        "backbone.timm.pretrained",
        "ours: download timm's weights to start training from",
    ),
    Option(
        "MODEL.TIMM.OUT_INDICES",
        "backbone.timm.out_indices",
        "ours: timm's numbers of the feature maps to use; empty: MODEL.FPN.IN_FEATURES",
    ),
    Option("MODEL.TIMM.NECK", "backbone.timm.neck", "ours: fpn, bifpn or fcos_bifpn"),
    # Feature pyramid network.
    Option(
        "MODEL.FPN.IN_FEATURES",
        "neck.fpn.in_features",
        "feature maps of the backbone, finest first; of BiFPN too",
    ),
    Option("MODEL.FPN.OUT_CHANNELS", "neck.fpn.out_channels", "channels of every level"),
    Option("MODEL.FPN.NORM", "neck.fpn.norm", "normalization layer"),
    Option("MODEL.FPN.FUSE_TYPE", "neck.fpn.fuse_type", "sum or avg"),
    # Bidirectional feature pyramid (arXiv 1911.09070).
    Option("MODEL.BIFPN.NUM_LEVELS", "neck.bifpn.num_levels", "levels, from p3"),
    Option("MODEL.BIFPN.NUM_BIFPN", "neck.bifpn.num_bifpn", "how often it is repeated"),
    Option("MODEL.BIFPN.NORM", "neck.bifpn.norm", "normalization layer"),
    Option("MODEL.BIFPN.OUT_CHANNELS", "neck.bifpn.out_channels", "channels of every level"),
    Option(
        "MODEL.BIFPN.SEPARABLE_CONV",
        "neck.bifpn.separable_conv",
        "depthwise separable convolutions",
    ),
    # Iterative deep aggregation of DLA's feature maps.
    Option("MODEL.DLA.DLAUP_IN_FEATURES", "neck.dla_up.in_features", "feature maps merged"),
    Option("MODEL.DLA.DLAUP_NODE", "neck.dla_up.node", "conv or dcn"),
    Option(
        "MODEL.DLA.MS_OUTPUT",
        "neck.dla_up.ms_output",
        "return all merged levels, not the finest alone",
    ),
)
