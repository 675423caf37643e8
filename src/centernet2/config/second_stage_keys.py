"""Keys of the options for the second stage of the detector."""

from centernet2.config.option import Option
from centernet2.ranges import Accepted, above, at_least, between

SECOND_STAGE_KEYS = (
    # Second stage.
    Option("MODEL.ROI_HEADS.IN_FEATURES", "roi_heads.in_features",
           "levels from which RoI features are pooled", Accepted(nonempty=True)),
    Option("MODEL.ROI_HEADS.NUM_CLASSES", "roi_heads.num_classes",
           "number of classes; in training, that of the data", at_least(1)),
    # Sampling of RoIs in training.
    Option("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "sampler.batch_size_per_image",
           "RoIs sampled per image", at_least(1)),
    Option("MODEL.ROI_HEADS.POSITIVE_FRACTION", "sampler.positive_fraction",
           "maximum fraction of positive RoIs", between(0, 1)),
    Option("MODEL.ROI_HEADS.PROPOSAL_APPEND_GT", "sampler.append_ground_truth",
           "add ground-truth boxes to the proposals in training"),
    # Predictions and losses of a box stage.
    Option("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", "box_stage.class_agnostic",
           "predict one box for all classes"),
    Option("MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", "box_stage.sigmoid",
           "sigmoid cross-entropy instead of softmax"),
    Option("MODEL.ROI_BOX_HEAD.PRIOR_PROB", "box_stage.prior_prob",
           "initial class probability with sigmoids", between(0, 1, excluded=(0, 1))),
    Option("MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE", "box_stage.box_loss",
           "box loss: smooth_l1, giou, diou or ciou"),
    Option("MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT", "box_stage.box_loss_weight",
           "weight of the box loss", at_least(0)),
    Option("MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA", "box_stage.smooth_l1_beta",
           "beta of smooth L1; 0: L1", at_least(0)),
    # Federated loss.
    Option("MODEL.ROI_BOX_HEAD.USE_FED_LOSS", "federated.enabled", "federated loss, for LVIS"),
    Option("MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CAT", "federated.num_classes",
           "classes sampled in each step", at_least(1)),
    Option("MODEL.ROI_BOX_HEAD.FED_LOSS_FREQ_WEIGHT", "federated.frequency_exponent",
           "exponent on the image count of a class, for its sampling weight", at_least(0)),
    Option("MODEL.ROI_BOX_HEAD.CAT_FREQ_PATH", "federated.frequency_file",
           "JSON file of image counts, by class name or id; if missing, they are counted"),
    # Stages of a cascade.
    Option("MODEL.ROI_BOX_CASCADE_HEAD.IOUS", "cascade.ious",
           "minimum IoU of a positive RoI, per stage", between(0, 1, nonempty=True)),
    Option("MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS", "cascade.bbox_reg_weights",
           "weights of the four box deltas, per stage", above(0, count=4, nonempty=True)),
    # Box stage of a second stage without a cascade.
    Option("MODEL.ROI_HEADS.IOU_THRESHOLDS", "one_stage.ious",
           "minimum IoU of a positive RoI", between(0, 1, nonempty=True)),
    Option("MODEL.ROI_HEADS.IOU_LABELS", "one_stage.iou_labels",
           "labels of RoIs below and above that IoU: (0, 1)", between(-1, 1, nonempty=True)),
    Option("MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", "one_stage.bbox_reg_weights",
           "weights of the four box deltas", above(0, count=4)),
    # Selection of detections.
    Option("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "selection.score_threshold",
           "detections must score above this", between(0, 1)),
    Option("MODEL.ROI_HEADS.NMS_THRESH_TEST", "selection.nms_threshold",
           "IoU threshold of NMS per class", between(0, 1)),
    Option("TEST.DETECTIONS_PER_IMAGE", "selection.detections_per_image",
           "maximum detections per image", at_least(1)),
    Option("MODEL.ROI_BOX_HEAD.MULT_PROPOSAL_SCORE", "selection.multiply_proposal_score",
           "score = sqrt(class probability x proposal score); the paper's equation 1 has no root"),
    # Network of a box head.
    Option("MODEL.ROI_BOX_HEAD.NUM_CONV", "box_head.num_conv",
           "number of 3x3 convolutions", at_least(0)),
    Option("MODEL.ROI_BOX_HEAD.CONV_DIM", "box_head.conv_dim",
           "channels of the convolutions", at_least(1)),
    Option("MODEL.ROI_BOX_HEAD.NORM", "box_head.norm", "normalization layer of the convolutions"),
    Option("MODEL.ROI_BOX_HEAD.NUM_FC", "box_head.num_fc",
           "number of fully connected layers", at_least(0)),
    Option("MODEL.ROI_BOX_HEAD.FC_DIM", "box_head.fc_dim",
           "width of the fully connected layers", at_least(1)),
    # Pooling for box heads.
    Option("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", "box_pooler.resolution",
           "output size: bins per axis", at_least(1)),
    Option("MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", "box_pooler.sampling_ratio",
           "samples per bin and axis; 0: adaptive", at_least(0)),
    Option("MODEL.ROI_BOX_HEAD.POOLER_TYPE", "box_pooler.pooler_type",
           "ROIAlignV2 (aligned) or ROIAlign"),
    # Network of the mask head.
    Option("MODEL.ROI_MASK_HEAD.NUM_CONV", "mask_head.num_conv",
           "number of 3x3 convolutions", at_least(0)),
    Option("MODEL.ROI_MASK_HEAD.CONV_DIM", "mask_head.conv_dim",
           "channels of the convolutions", at_least(1)),
    Option("MODEL.ROI_MASK_HEAD.NORM", "mask_head.norm", "normalization layer of the convolutions"),
    Option("MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK", "mask_head.class_agnostic",
           "predict one mask for all classes"),
    # Pooling for the mask head.
    Option("MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", "mask_pooler.resolution",
           "output size: bins per axis", at_least(1)),
    Option("MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO", "mask_pooler.sampling_ratio",
           "samples per bin and axis; 0: adaptive", at_least(0)),
    Option("MODEL.ROI_MASK_HEAD.POOLER_TYPE", "mask_pooler.pooler_type",
           "ROIAlignV2 (aligned) or ROIAlign"),
)  # fmt: skip
