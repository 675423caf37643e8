"""Keys of the detector's options: backbone, neck, first stage, second stage."""

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
    # Network of the first stage.
    Option(
        "MODEL.CENTERNET.NUM_CLASSES",
        "head.num_classes",
        "classes; taken from the data in training",
    ),
    Option("MODEL.CENTERNET.WITH_AGN_HM", "head.objectness", "predict objectness"),
    Option("MODEL.CENTERNET.ONLY_PROPOSAL", "head.only_objectness", "predict no classes"),
    Option("MODEL.CENTERNET.NORM", "head.norm", "normalization layer of the towers"),
    Option(
        "MODEL.CENTERNET.NUM_CLS_CONVS", "head.num_class_convs", "convolutions of the class tower"
    ),
    Option("MODEL.CENTERNET.NUM_BOX_CONVS", "head.num_box_convs", "convolutions of the box tower"),
    Option(
        "MODEL.CENTERNET.NUM_SHARE_CONVS",
        "head.num_shared_convs",
        "convolutions in front of both towers",
    ),
    Option(
        "MODEL.CENTERNET.USE_DEFORMABLE",
        "head.deformable",
        "last convolution of a tower is deformable",
    ),
    Option(
        "MODEL.CENTERNET.PRIOR_PROB", "head.prior_prob", "score of every location before training"
    ),
    # Levels of the first stage.
    Option("MODEL.CENTERNET.IN_FEATURES", "centernet.in_features", "levels"),
    Option("MODEL.CENTERNET.FPN_STRIDES", "centernet.strides", "strides of the levels"),
    Option(
        "MODEL.CENTERNET.AS_PROPOSAL",
        "centernet.class_proposals",
        "class scores serve as proposals",
    ),
    # Targets of the first stage.
    Option(
        "MODEL.CENTERNET.SOI",
        "assigner.sizes_of_interest",
        "range of half diagonals, in pixels, of the objects of each level",
    ),
    Option(
        "MODEL.CENTERNET.HM_MIN_OVERLAP", "assigner.min_iou", "IoU that sets the width of a peak"
    ),
    Option(
        "MODEL.CENTERNET.MIN_RADIUS", "assigner.min_radius", "smallest width of a peak in pixels"
    ),
    Option(
        "MODEL.CENTERNET.MORE_POS",
        "assigner.more_positives",
        "well predicted neighbors of a center are positives too",
    ),
    Option(
        "MODEL.CENTERNET.MORE_POS_THRESH",
        "assigner.more_positives_max_loss",
        "greatest box loss of such a neighbour",
    ),
    Option(
        "MODEL.CENTERNET.MORE_POS_TOPK",
        "assigner.more_positives_topk",
        "neighbors considered per object",
    ),
    Option(
        "INPUT.NOT_CLAMP_BOX",
        "assigner.clamp_boxes",
        "boxes may reach beyond the border of the image",
        inverted=True,
    ),
    # Losses of the first stage.
    Option(
        "MODEL.CENTERNET.HM_FOCAL_ALPHA",
        "criterion.focal.alpha",
        "weight of positives in the focal loss",
    ),
    Option(
        "MODEL.CENTERNET.HM_FOCAL_BETA",
        "criterion.focal.beta",
        "exponent that spares negatives near a peak",
    ),
    Option("MODEL.CENTERNET.LOSS_GAMMA", "criterion.focal.gamma", "focusing exponent"),
    Option(
        "MODEL.CENTERNET.SIGMOID_CLAMP",
        "criterion.focal.sigmoid_clamp",
        "distance of probabilities from 0 and 1",
    ),
    Option(
        "MODEL.CENTERNET.IGNORE_HIGH_FP",
        "criterion.focal.ignore_high_fp",
        "ignore negatives that score above; -1: none",
    ),
    Option("MODEL.CENTERNET.LOC_LOSS_TYPE", "criterion.box_loss", "iou, linear_iou or giou"),
    Option(
        "MODEL.CENTERNET.POS_WEIGHT", "criterion.positive_weight", "weight of the loss at positives"
    ),
    Option(
        "MODEL.CENTERNET.NEG_WEIGHT", "criterion.negative_weight", "weight of the loss at negatives"
    ),
    Option("MODEL.CENTERNET.REG_WEIGHT", "criterion.box_weight", "weight of the box loss"),
    Option(
        "MODEL.CENTERNET.NOT_NORM_REG",
        "criterion.weigh_boxes",
        "weigh all regressed locations equally, not by the heat map",
        inverted=True,
    ),
    Option(
        "MODEL.CENTERNET.NO_REDUCE",
        "criterion.average_over_processes",
        "normalize by each process's own positives",
        inverted=True,
    ),
    # From heat maps to proposals.
    Option("MODEL.CENTERNET.INFERENCE_TH", "decoder.score_threshold", "candidates score above it"),
    Option(
        "MODEL.CENTERNET.CENTER_NMS",
        "decoder.center_nms",
        "keep local maxima of the heat map, instead of NMS of boxes",
    ),
    Option("MODEL.CENTERNET.NOT_NMS", "decoder.nms", "no NMS of boxes", inverted=True),
    Option(
        "MODEL.CENTERNET.PRE_NMS_TOPK_TRAIN",
        "decoder.training.pre_nms_topk",
        "candidates per level, training",
    ),
    Option(
        "MODEL.CENTERNET.PRE_NMS_TOPK_TEST",
        "decoder.inference.pre_nms_topk",
        "candidates per level, inference",
    ),
    Option(
        "MODEL.CENTERNET.POST_NMS_TOPK_TRAIN",
        "decoder.training.post_nms_topk",
        "proposals per image, training",
    ),
    Option(
        "MODEL.CENTERNET.POST_NMS_TOPK_TEST",
        "decoder.inference.post_nms_topk",
        "proposals per image, inference",
    ),
    Option(
        "MODEL.CENTERNET.NMS_TH_TRAIN",
        "decoder.training.nms_threshold",
        "IoU allowed between proposals, training",
    ),
    Option(
        "MODEL.CENTERNET.NMS_TH_TEST",
        "decoder.inference.nms_threshold",
        "IoU allowed between proposals, inference",
    ),
    # Second stage.
    Option(
        "MODEL.ROI_HEADS.IN_FEATURES", "roi_heads.in_features", "levels that RoIs are pooled from"
    ),
    Option(
        "MODEL.ROI_HEADS.NUM_CLASSES",
        "roi_heads.num_classes",
        "classes; taken from the data in training",
    ),
    # Sampling of RoIs in training.
    Option(
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE",
        "sampler.batch_size_per_image",
        "RoIs sampled per image",
    ),
    Option(
        "MODEL.ROI_HEADS.POSITIVE_FRACTION",
        "sampler.positive_fraction",
        "largest share of positives",
    ),
    Option(
        "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT",
        "sampler.append_ground_truth",
        "objects are RoIs too, in training",
    ),
    # Predictions and losses of a box stage.
    Option(
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG",
        "box_stage.class_agnostic",
        "one box for all classes",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE",
        "box_stage.sigmoid",
        "a sigmoid per class instead of a softmax",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.PRIOR_PROB",
        "box_stage.prior_prob",
        "class probability before training, with sigmoids",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE",
        "box_stage.box_loss",
        "smooth_l1, giou, diou or ciou",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT",
        "box_stage.box_loss_weight",
        "weight of the box loss",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA",
        "box_stage.smooth_l1_beta",
        "where the loss turns linear; 0 is L1",
    ),
    # Federated loss.
    Option("MODEL.ROI_BOX_HEAD.USE_FED_LOSS", "federated.enabled", "federated loss, for LVIS"),
    Option(
        "MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CAT",
        "federated.num_classes",
        "classes judged in each step",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.FED_LOSS_FREQ_WEIGHT",
        "federated.frequency_exponent",
        "exponent on the number of images with a class",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.CAT_FREQ_PATH", "federated.frequency_file", "number of images per class"
    ),
    # Stages of a cascade.
    Option("MODEL.ROI_BOX_CASCADE_HEAD.IOUS", "cascade.ious", "IoU of a positive RoI, per stage"),
    Option(
        "MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS",
        "cascade.bbox_reg_weights",
        "scale of the four deltas, per stage",
    ),
    # The only stage where there is no cascade.
    Option("MODEL.ROI_HEADS.IOU_THRESHOLDS", "one_stage.ious", "IoU of a positive RoI"),
    Option(
        "MODEL.ROI_HEADS.IOU_LABELS", "one_stage.iou_labels", "meaning of RoIs below and above it"
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS",
        "one_stage.bbox_reg_weights",
        "scale of the four deltas",
    ),
    # Selection of detections.
    Option(
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST",
        "selection.score_threshold",
        "detections score above it",
    ),
    Option(
        "MODEL.ROI_HEADS.NMS_THRESH_TEST",
        "selection.nms_threshold",
        "IoU allowed between detections of a class",
    ),
    Option(
        "TEST.DETECTIONS_PER_IMAGE", "selection.detections_per_image", "most detections per image"
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.MULT_PROPOSAL_SCORE",
        "selection.multiply_proposal_score",
        "join the first stage's score",
    ),
    # Network of a box head.
    Option("MODEL.ROI_BOX_HEAD.NUM_CONV", "box_head.num_conv", "3x3 convolutions"),
    Option("MODEL.ROI_BOX_HEAD.CONV_DIM", "box_head.conv_dim", "their channels"),
    Option("MODEL.ROI_BOX_HEAD.NORM", "box_head.norm", "their normalization layer"),
    Option("MODEL.ROI_BOX_HEAD.NUM_FC", "box_head.num_fc", "fully connected layers"),
    Option("MODEL.ROI_BOX_HEAD.FC_DIM", "box_head.fc_dim", "their width"),
    # Pooling for box heads.
    Option("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", "box_pooler.resolution", "cells per axis"),
    Option(
        "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO",
        "box_pooler.sampling_ratio",
        "samples per cell and axis; 0 adapts",
    ),
    Option("MODEL.ROI_BOX_HEAD.POOLER_TYPE", "box_pooler.pooler_type", "ROIAlignV2 or ROIAlign"),
    # Network of the mask head.
    Option("MODEL.ROI_MASK_HEAD.NUM_CONV", "mask_head.num_conv", "3x3 convolutions"),
    Option("MODEL.ROI_MASK_HEAD.CONV_DIM", "mask_head.conv_dim", "their channels"),
    Option("MODEL.ROI_MASK_HEAD.NORM", "mask_head.norm", "their normalization layer"),
    Option(
        "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK",
        "mask_head.class_agnostic",
        "one mask for all classes",
    ),
    # Pooling for the mask head.
    Option("MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", "mask_pooler.resolution", "cells per axis"),
    Option(
        "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO",
        "mask_pooler.sampling_ratio",
        "samples per cell and axis; 0 adapts",
    ),
    Option("MODEL.ROI_MASK_HEAD.POOLER_TYPE", "mask_pooler.pooler_type", "ROIAlignV2 or ROIAlign"),
)
