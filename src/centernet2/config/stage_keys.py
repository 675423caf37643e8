"""Keys of the options of both stages of the detector."""

from centernet2.config.option import Option

STAGE_KEYS = (
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
        "maximum box loss of such a neighbor",
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
        "maximum fraction of positives",
    ),
    Option(
        "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT",
        "sampler.append_ground_truth",
        "add ground-truth boxes to the RoIs in training",
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
