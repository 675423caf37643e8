"""Keys of the data's options: which data sets, how images change, in which order."""

from centernet2.config.option import Option

DATA_KEYS = (
    # Which data sets.
    Option("DATASETS.TRAIN", "datasets.train", "names of data sets to train on"),
    Option("DATASETS.TEST", "datasets.test", "names of data sets to evaluate on"),
    Option(
        "DATASETS.VAL_FRACTION",
        "datasets.val_fraction",
        "ours: fraction of the images to evaluate on, where --data has no validation split",
    ),
    Option("DATASETS.VAL_SEED", "datasets.val_seed", "ours: seed of the choice of these images"),
    # Sizes and random changes of images.
    Option(
        "INPUT.CUSTOM_AUG",
        "augmentation.custom_aug",
        "empty, ResizeShortestEdge, EfficientDetResizeCrop or (ours) LargeScaleJitter",
    ),
    Option("INPUT.MIN_SIZE_TRAIN", "augmentation.min_size_train", "lengths of the shorter edge"),
    Option(
        "INPUT.MIN_SIZE_TRAIN_SAMPLING",
        "augmentation.min_size_train_sampling",
        "choice, or range: between the two lengths",
    ),
    Option(
        "INPUT.MAX_SIZE_TRAIN", "augmentation.max_size_train", "maximum length of the longer edge"
    ),
    Option(
        "INPUT.MIN_SIZE_TEST",
        "augmentation.min_size_test",
        "length of the shorter edge; 0 does not resize",
    ),
    Option(
        "INPUT.MAX_SIZE_TEST", "augmentation.max_size_test", "maximum length of the longer edge"
    ),
    Option(
        "INPUT.MOSAIC",
        "augmentation.mosaic",
        "ours: fraction of training images that are mosaics of four",
    ),
    Option(
        "INPUT.MOSAIC_SIZE",
        "augmentation.mosaic_size",
        "ours: side of the square that each of the four is resized to fit",
    ),
    Option(
        "INPUT.MIXUP",
        "augmentation.mixup",
        "ours: fraction of training images that are blended with another",
    ),
    Option(
        "INPUT.COPY_PASTE",
        "augmentation.copy_paste",
        "ours: fraction of training images into which objects of another are pasted",
    ),
    Option(
        "INPUT.PHOTOMETRIC_DISTORTION",
        "augmentation.photometric_distortion",
        "ours: random brightness, contrast, saturation and hue",
    ),
    Option("INPUT.RANDOM_FLIP", "augmentation.random_flip", "horizontal, vertical or none"),
    Option("INPUT.CROP.ENABLED", "augmentation.crop_enabled", "random crops"),
    Option(
        "INPUT.CROP.TYPE",
        "augmentation.crop_type",
        "relative_range, relative, absolute or absolute_range",
    ),
    Option("INPUT.CROP.SIZE", "augmentation.crop_size", "height and width of the crop"),
    Option(
        "INPUT.TRAIN_SIZE",
        "augmentation.train_size",
        "side of the square of EfficientDetResizeCrop and LargeScaleJitter",
    ),
    Option(
        "INPUT.SCALE_RANGE",
        "augmentation.scale_range",
        "range of the scales of EfficientDetResizeCrop and LargeScaleJitter",
    ),
    Option(
        "INPUT.TEST_INPUT_TYPE",
        "augmentation.test_input_type",
        "default, or square: resized to fit a square of TEST_SIZE",
    ),
    Option("INPUT.TEST_SIZE", "augmentation.test_size", "side of that square"),
    Option(
        "INPUT.STATIC_SHAPES",
        "augmentation.static_shapes",
        "ours: pad images to a few sizes, so that tensors keep their shapes from step to step",
    ),
    # Order and loading of images.
    Option(
        "DATALOADER.NUM_WORKERS",
        "loader.num_workers",
        "processes that load images, per training process",
    ),
    Option(
        "DATALOADER.ASPECT_RATIO_GROUPING",
        "loader.aspect_ratio_grouping",
        "no batch mixes wide and tall images",
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
        "ours: how often each of DATASETS.TRAIN is sampled; empty: by its size",
    ),
    Option(
        "DATALOADER.REPEAT_THRESHOLD",
        "loader.repeat_threshold",
        "images of classes with a lower frequency are repeated",
    ),
    Option(
        "DATALOADER.REPEAT_SQRT", "loader.repeat_sqrt", "repeat by the square root of the rarity"
    ),
    # Test-time augmentation.
    Option(
        "TEST.AUG.ENABLED",
        "test_augmentation.enabled",
        "detect in every image at several sizes and merge",
    ),
    Option("TEST.AUG.MIN_SIZES", "test_augmentation.min_sizes", "lengths of the shorter edge"),
    Option("TEST.AUG.MAX_SIZE", "test_augmentation.max_size", "maximum length of the longer edge"),
    Option("TEST.AUG.FLIP", "test_augmentation.flip", "detect in the mirrored image as well"),
    Option(
        "TEST.AUG.MERGE",
        "test_augmentation.merge",
        "ours: nms per class, or wbf: weighted box fusion",
    ),
)
