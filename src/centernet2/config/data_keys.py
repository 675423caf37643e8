"""Keys of the options for data: data sets, augmentation, loading."""

from centernet2.config.option import Option
from centernet2.ranges import above, at_least, between

DATA_KEYS = (
    # Which data sets.
    Option("DATASETS.TRAIN", "datasets.train", "names of data sets to train on"),
    Option("DATASETS.TEST", "datasets.test", "names of data sets to evaluate on"),
    Option(
        "DATASETS.CLASS_MAP",
        "datasets.class_map",
        "ours: pairs 'old=new' that rename classes of the data, or merge them under one name",
    ),
    Option(
        "DATASETS.VAL_FRACTION",
        "datasets.val_fraction",
        "ours: fraction of the images to evaluate on if --data has no validation split",
        accepted=between(0, 1, excluded=(1,)),
    ),
    Option(
        "DATASETS.VAL_SEED",
        "datasets.val_seed",
        "ours: random seed that selects these images",
        accepted=at_least(0),
    ),
    Option(
        "DATASETS.PARTIAL_LABELS",
        "datasets.partial_labels",
        "ours: classes that one of the data sets lacks are unknown in its images, not background",
    ),
    Option(
        "DATASETS.KEPT_CLASSES",
        "datasets.kept_classes",
        "ours: classes of the initial weights that stay, though the data do not label them all",
    ),
    Option(
        "DATASETS.KEPT_SCORES",
        "datasets.kept_scores",
        "ours: scores from which detections of these classes by the initial weights are uncertain "
        "objects, and objects; (1, 1): none, and these classes are unknown everywhere",
        accepted=between(0, 1, count=2, ascending=True),
    ),
    # Resizing and augmentation.
    Option(
        "INPUT.CUSTOM_AUG",
        "augmentation.custom_aug",
        "ResizeShortestEdge (also ''), EfficientDetResizeCrop or (ours) LargeScaleJitter",
    ),
    Option(
        "INPUT.MIN_SIZE_TRAIN",
        "augmentation.min_size_train",
        "lengths of the shorter edge, in pixels",
        accepted=at_least(1, nonempty=True),
    ),
    Option(
        "INPUT.MIN_SIZE_TRAIN_SAMPLING",
        "augmentation.min_size_train_sampling",
        "choice: one of these lengths; range: any length between the two; batch: one of them for "
        "all images of a batch",
    ),
    Option(
        "INPUT.MAX_SIZE_TRAIN",
        "augmentation.max_size_train",
        "maximum length of the longer edge",
        accepted=at_least(1),
    ),
    Option(
        "INPUT.MIN_SIZE_TEST",
        "augmentation.min_size_test",
        "length of the shorter edge, in pixels; 0: no resizing",
        accepted=at_least(0),
    ),
    Option(
        "INPUT.MAX_SIZE_TEST",
        "augmentation.max_size_test",
        "maximum length of the longer edge",
        accepted=at_least(1),
    ),
    Option(
        "INPUT.MOSAIC",
        "augmentation.mosaic",
        "ours: fraction of training images that are a mosaic of four images",
        accepted=between(0, 1),
    ),
    Option(
        "INPUT.MOSAIC_SIZE",
        "augmentation.mosaic_size",
        "ours: side of the square into which each of the four images is resized",
        accepted=at_least(1),
    ),
    Option(
        "INPUT.MIXUP",
        "augmentation.mixup",
        "ours: fraction of training images that are blended with another image",
        accepted=between(0, 1),
    ),
    Option(
        "INPUT.COPY_PASTE",
        "augmentation.copy_paste",
        "ours: fraction of training images into which objects of another image are pasted",
        accepted=between(0, 1),
    ),
    Option(
        "INPUT.PHOTOMETRIC_DISTORTION",
        "augmentation.photometric_distortion",
        "ours: change brightness, contrast, saturation and hue at random",
    ),
    Option("INPUT.RANDOM_FLIP", "augmentation.random_flip", "horizontal, vertical or none"),
    Option("INPUT.CROP.ENABLED", "augmentation.crop_enabled", "crop training images at random"),
    Option(
        "INPUT.CROP.TYPE",
        "augmentation.crop_type",
        "relative, relative_range, absolute or absolute_range",
    ),
    Option(
        "INPUT.CROP.SIZE",
        "augmentation.crop_size",
        "height and width of the crop: fractions of the image, or pixels",
        accepted=above(0, count=2),
    ),
    Option(
        "INPUT.TRAIN_SIZE",
        "augmentation.train_size",
        "side of the output of EfficientDetResizeCrop and LargeScaleJitter, in pixels",
        accepted=at_least(1),
    ),
    Option(
        "INPUT.SCALE_RANGE",
        "augmentation.scale_range",
        "range of scales of EfficientDetResizeCrop and LargeScaleJitter",
        accepted=above(0, count=2, ascending=True),
    ),
    Option(
        "INPUT.TEST_INPUT_TYPE",
        "augmentation.test_input_type",
        "default: MIN_SIZE_TEST and MAX_SIZE_TEST; square: fit a square of TEST_SIZE",
    ),
    Option(
        "INPUT.TEST_SIZE",
        "augmentation.test_size",
        "side of the square, in pixels",
        accepted=at_least(1),
    ),
    Option(
        "INPUT.STATIC_SHAPES",
        "augmentation.static_shapes",
        "ours: pad images to a few fixed sizes, so that few tensor shapes occur",
    ),
    # Sampling and loading.
    Option(
        "DATALOADER.NUM_WORKERS",
        "loader.num_workers",
        "data loader workers of each process",
        accepted=at_least(0),
    ),
    Option(
        "DATALOADER.ASPECT_RATIO_GROUPING",
        "loader.aspect_ratio_grouping",
        "do not mix wide and tall images in a batch",
    ),
    Option(
        "DATALOADER.FILTER_EMPTY_ANNOTATIONS",
        "loader.filter_empty",
        "skip training images without objects",
    ),
    Option(
        "DATALOADER.SAMPLER_TRAIN",
        "loader.sampler",
        "TrainingSampler, RepeatFactorTrainingSampler or ClassAwareSampler",
    ),
    Option(
        "DATALOADER.DATASET_RATIO",
        "loader.dataset_ratio",
        "ours: sampling ratios of the data sets in DATASETS.TRAIN; empty: their sizes",
        accepted=above(0),
    ),
    Option(
        "DATALOADER.REPEAT_THRESHOLD",
        "loader.repeat_threshold",
        "repeat images of classes that are in a smaller fraction of the images",
        accepted=between(0, 1),
    ),
    Option(
        "DATALOADER.REPEAT_SQRT",
        "loader.repeat_sqrt",
        "repeat by the square root of threshold / frequency, not by the ratio",
    ),
    # Test-time augmentation.
    Option(
        "TEST.AUG.ENABLED",
        "test_augmentation.enabled",
        "detect at several sizes and merge the detections",
    ),
    Option(
        "TEST.AUG.MIN_SIZES",
        "test_augmentation.min_sizes",
        "lengths of the shorter edge",
        accepted=at_least(1, nonempty=True),
    ),
    Option(
        "TEST.AUG.MAX_SIZE",
        "test_augmentation.max_size",
        "maximum length of the longer edge",
        accepted=at_least(1),
    ),
    Option(
        "TEST.AUG.FLIP", "test_augmentation.flip", "also detect in the horizontally flipped image"
    ),
    Option(
        "TEST.AUG.MERGE",
        "test_augmentation.merge",
        "ours: nms (per class) or wbf (weighted boxes fusion)",
    ),
)
