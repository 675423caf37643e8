"""Keys of the options for both stages of the detector."""

from centernet2.config.option import Option

STAGE_KEYS = (
    # Network of the first stage.
    Option(
        "MODEL.CENTERNET.NUM_CLASSES",
        "head.num_classes",
        "number of classes; in training, that of the data",
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
    ),
    Option(
        "MODEL.CENTERNET.NUM_BOX_CONVS",
        "head.num_box_convs",
        "number of convolutions of the box tower",
    ),
    Option(
        "MODEL.CENTERNET.NUM_SHARE_CONVS",
        "head.num_shared_convs",
        "number of convolutions before both towers",
    ),
    Option(
        "MODEL.CENTERNET.USE_DEFORMABLE",
        "head.deformable",
        "make the last convolution of each tower deformable",
    ),
    Option("MODEL.CENTERNET.PRIOR_PROB", "head.prior_prob", "initial score of every location"),
    # Levels of the first stage.
    Option("MODEL.CENTERNET.IN_FEATURES", "centernet.in_features", "levels of the neck to use"),
    Option("MODEL.CENTERNET.FPN_STRIDES", "centernet.strides", "strides of the levels"),
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
    ),
    Option(
        "MODEL.CENTERNET.HM_MIN_OVERLAP",
        "assigner.min_iou",
        "IoU that determines the radius of a heat-map peak",
    ),
    Option(
        "MODEL.CENTERNET.MIN_RADIUS",
        "assigner.min_radius",
        "minimum radius of a heat-map peak, in pixels",
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
    ),
    Option(
        "MODEL.CENTERNET.MORE_POS_TOPK",
        "assigner.more_positives_topk",
        "maximum number of such locations per object",
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
    ),
    Option(
        "MODEL.CENTERNET.HM_FOCAL_BETA",
        "criterion.focal.beta",
        "exponent that reduces the weight of negatives near a peak",
    ),
    Option(
        "MODEL.CENTERNET.LOSS_GAMMA", "criterion.focal.gamma", "focusing exponent of the focal loss"
    ),
    Option(
        "MODEL.CENTERNET.SIGMOID_CLAMP",
        "criterion.focal.sigmoid_clamp",
        "minimum distance of probabilities from 0 and 1",
    ),
    Option(
        "MODEL.CENTERNET.IGNORE_HIGH_FP",
        "criterion.focal.ignore_high_fp",
        "ignore negatives with a score above this; -1: ignore none",
    ),
    Option(
        "MODEL.CENTERNET.LOC_LOSS_TYPE", "criterion.box_loss", "box loss: iou, linear_iou or giou"
    ),
    Option(
        "MODEL.CENTERNET.POS_WEIGHT",
        "criterion.positive_weight",
        "weight of the heat-map loss at positives",
    ),
    Option(
        "MODEL.CENTERNET.NEG_WEIGHT",
        "criterion.negative_weight",
        "weight of the heat-map loss at negatives",
    ),
    Option("MODEL.CENTERNET.REG_WEIGHT", "criterion.box_weight", "weight of the box loss"),
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
    ),
    Option(
        "MODEL.CENTERNET.PRE_NMS_TOPK_TEST",
        "decoder.inference.pre_nms_topk",
        "maximum candidates per level, in inference",
    ),
    Option(
        "MODEL.CENTERNET.POST_NMS_TOPK_TRAIN",
        "decoder.training.post_nms_topk",
        "maximum proposals per image, in training",
    ),
    Option(
        "MODEL.CENTERNET.POST_NMS_TOPK_TEST",
        "decoder.inference.post_nms_topk",
        "maximum proposals per image, in inference",
    ),
    Option(
        "MODEL.CENTERNET.NMS_TH_TRAIN",
        "decoder.training.nms_threshold",
        "IoU threshold of NMS, in training",
    ),
    Option(
        "MODEL.CENTERNET.NMS_TH_TEST",
        "decoder.inference.nms_threshold",
        "IoU threshold of NMS, in inference",
    ),
    # Second stage.
    Option(
        "MODEL.ROI_HEADS.IN_FEATURES",
        "roi_heads.in_features",
        "levels from which RoI features are pooled",
    ),
    Option(
        "MODEL.ROI_HEADS.NUM_CLASSES",
        "roi_heads.num_classes",
        "number of classes; in training, that of the data",
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
        "maximum fraction of positive RoIs",
    ),
    Option(
        "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT",
        "sampler.append_ground_truth",
        "add ground-truth boxes to the proposals in training",
    ),
    # Predictions and losses of a box stage.
    Option(
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG",
        "box_stage.class_agnostic",
        "predict one box for all classes",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE",
        "box_stage.sigmoid",
        "sigmoid cross-entropy instead of softmax",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.PRIOR_PROB",
        "box_stage.prior_prob",
        "initial class probability with sigmoids",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE",
        "box_stage.box_loss",
        "box loss: smooth_l1, giou, diou or ciou",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT",
        "box_stage.box_loss_weight",
        "weight of the box loss",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA",
        "box_stage.smooth_l1_beta",
        "beta of smooth L1; 0: L1",
    ),
    # Federated loss.
    Option("MODEL.ROI_BOX_HEAD.USE_FED_LOSS", "federated.enabled", "federated loss, for LVIS"),
    Option(
        "MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CAT",
        "federated.num_classes",
        "classes sampled in each step",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.FED_LOSS_FREQ_WEIGHT",
        "federated.frequency_exponent",
        "exponent on the image count of a class, for its sampling weight",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.CAT_FREQ_PATH",
        "federated.frequency_file",
        "JSON file of image counts per class; if missing, they are counted",
    ),
    # Stages of a cascade.
    Option(
        "MODEL.ROI_BOX_CASCADE_HEAD.IOUS",
        "cascade.ious",
        "minimum IoU of a positive RoI, per stage",
    ),
    Option(
        "MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS",
        "cascade.bbox_reg_weights",
        "weights of the four box deltas, per stage",
    ),
    # Box stage of a second stage without a cascade.
    Option("MODEL.ROI_HEADS.IOU_THRESHOLDS", "one_stage.ious", "minimum IoU of a positive RoI"),
    Option(
        "MODEL.ROI_HEADS.IOU_LABELS",
        "one_stage.iou_labels",
        "labels of RoIs below and above that IoU: (0, 1)",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS",
        "one_stage.bbox_reg_weights",
        "weights of the four box deltas",
    ),
    # Selection of detections.
    Option(
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST",
        "selection.score_threshold",
        "detections must score above this",
    ),
    Option(
        "MODEL.ROI_HEADS.NMS_THRESH_TEST",
        "selection.nms_threshold",
        "IoU threshold of NMS per class",
    ),
    Option(
        "TEST.DETECTIONS_PER_IMAGE",
        "selection.detections_per_image",
        "maximum detections per image",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.MULT_PROPOSAL_SCORE",
        "selection.multiply_proposal_score",
        "score = sqrt(class probability x proposal score), as in the paper",
    ),
    # Network of a box head.
    Option("MODEL.ROI_BOX_HEAD.NUM_CONV", "box_head.num_conv", "number of 3x3 convolutions"),
    Option("MODEL.ROI_BOX_HEAD.CONV_DIM", "box_head.conv_dim", "channels of the convolutions"),
    Option("MODEL.ROI_BOX_HEAD.NORM", "box_head.norm", "normalization layer of the convolutions"),
    Option("MODEL.ROI_BOX_HEAD.NUM_FC", "box_head.num_fc", "number of fully connected layers"),
    Option("MODEL.ROI_BOX_HEAD.FC_DIM", "box_head.fc_dim", "width of the fully connected layers"),
    # Pooling for box heads.
    Option(
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION",
        "box_pooler.resolution",
        "output size: bins per axis",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO",
        "box_pooler.sampling_ratio",
        "samples per bin and axis; 0: adaptive",
    ),
    Option(
        "MODEL.ROI_BOX_HEAD.POOLER_TYPE",
        "box_pooler.pooler_type",
        "ROIAlignV2 (aligned) or ROIAlign",
    ),
    # Network of the mask head.
    Option("MODEL.ROI_MASK_HEAD.NUM_CONV", "mask_head.num_conv", "number of 3x3 convolutions"),
    Option("MODEL.ROI_MASK_HEAD.CONV_DIM", "mask_head.conv_dim", "channels of the convolutions"),
    Option("MODEL.ROI_MASK_HEAD.NORM", "mask_head.norm", "normalization layer of the convolutions"),
    Option(
        "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK",
        "mask_head.class_agnostic",
        "predict one mask for all classes",
    ),
    # Pooling for the mask head.
    Option(
        "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION",
        "mask_pooler.resolution",
        "output size: bins per axis",
    ),
    Option(
        "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO",
        "mask_pooler.sampling_ratio",
        "samples per bin and axis; 0: adaptive",
    ),
    Option(
        "MODEL.ROI_MASK_HEAD.POOLER_TYPE",
        "mask_pooler.pooler_type",
        "ROIAlignV2 (aligned) or ROIAlign",
    ),
)
