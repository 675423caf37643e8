"""Options of the data: which, how images change, in which order."""

from centernet2.config.option import Floats, Group, Ints, Names, option


class DatasetsOptions(Group):
    """Which data sets."""

    train: Names = option("DATASETS.TRAIN", (), "names of data sets to train on")
    test: Names = option("DATASETS.TEST", (), "names of data sets to evaluate on")
    val_fraction: float = option(
        "DATASETS.VAL_FRACTION",
        0.0,
        "ours: share of the images to evaluate on, where --data has no validation split",
    )
    val_seed: int = option("DATASETS.VAL_SEED", 0, "ours: seed of the draw of these images")


class AugmentationOptions(Group):
    """Sizes and random changes of images."""

    custom_aug: str = option(
        "INPUT.CUSTOM_AUG",
        "",
        "empty, ResizeShortestEdge, EfficientDetResizeCrop, or (ours) LargeScaleJitter with TRAIN_SIZE and SCALE_RANGE",
    )
    min_size_train: Ints = option("INPUT.MIN_SIZE_TRAIN", (800,), "lengths of the shorter edge")
    min_size_train_sampling: str = option(
        "INPUT.MIN_SIZE_TRAIN_SAMPLING", "choice", "choice, or range between two"
    )
    max_size_train: int = option("INPUT.MAX_SIZE_TRAIN", 1333, "greatest length of the longer edge")
    min_size_test: int = option(
        "INPUT.MIN_SIZE_TEST", 800, "length of the shorter edge; 0 does not resize"
    )
    max_size_test: int = option("INPUT.MAX_SIZE_TEST", 1333, "greatest length of the longer edge")
    mosaic: float = option(
        "INPUT.MOSAIC", 0.0, "ours: share of training images that are made of four"
    )
    mosaic_size: int = option(
        "INPUT.MOSAIC_SIZE", 640, "ours: edge of the square that each of the four is fitted into"
    )
    mixup: float = option(
        "INPUT.MIXUP", 0.0, "ours: share of training images that are blended with another"
    )
    copy_paste: float = option(
        "INPUT.COPY_PASTE",
        0.0,
        "ours: share of training images that get objects of another, cut out by their masks",
    )
    photometric_distortion: bool = option(
        "INPUT.PHOTOMETRIC_DISTORTION",
        False,
        "ours: random brightness, contrast, saturation and hue",
    )
    random_flip: str = option("INPUT.RANDOM_FLIP", "horizontal", "horizontal, vertical or none")
    crop_enabled: bool = option("INPUT.CROP.ENABLED", False, "cut out a random part")
    crop_type: str = option(
        "INPUT.CROP.TYPE", "relative_range", "relative_range, relative, absolute or absolute_range"
    )
    crop_size: Floats = option("INPUT.CROP.SIZE", (0.9, 0.9), "height and width of the part")
    train_size: int = option(
        "INPUT.TRAIN_SIZE", 640, "edge of the square that EfficientDetResizeCrop makes"
    )
    scale_range: Floats = option(
        "INPUT.SCALE_RANGE", (0.1, 2.0), "scales that EfficientDetResizeCrop draws from"
    )
    test_input_type: str = option(
        "INPUT.TEST_INPUT_TYPE", "default", "default, or square: fit into TEST_SIZE"
    )
    test_size: int = option("INPUT.TEST_SIZE", 640, "edge of that square")
    static_shapes: bool = option(
        "INPUT.STATIC_SHAPES",
        False,
        "ours: pad images to a few sizes and keep every tensor's size from step to step",
    )
    mask_format: str = option("INPUT.MASK_FORMAT", "polygon", "polygon or bitmask: read either way")


class LoaderOptions(Group):
    """Order and loading of images."""

    num_workers: int = option(
        "DATALOADER.NUM_WORKERS", 4, "processes that load images, per training process"
    )
    aspect_ratio_grouping: bool = option(
        "DATALOADER.ASPECT_RATIO_GROUPING", True, "no batch mixes wide and tall images"
    )
    filter_empty: bool = option(
        "DATALOADER.FILTER_EMPTY_ANNOTATIONS", True, "train on no image without an object"
    )
    sampler: str = option(
        "DATALOADER.SAMPLER_TRAIN",
        "TrainingSampler",
        "TrainingSampler, RepeatFactorTrainingSampler or ClassAwareSampler",
    )
    dataset_ratio: Floats = option(
        "DATALOADER.DATASET_RATIO",
        (),
        "ours: how often each of DATASETS.TRAIN is drawn; empty: by its size",
    )
    repeat_threshold: float = option(
        "DATALOADER.REPEAT_THRESHOLD", 0.0, "images of rarer classes are repeated"
    )
    repeat_sqrt: bool = option("DATALOADER.REPEAT_SQRT", True, "by the root of the rarity")


class TestAugmentationOptions(Group):
    """Test-time augmentation."""

    enabled: bool = option("TEST.AUG.ENABLED", False, "evaluate every image in several forms")
    min_sizes: Ints = option(
        "TEST.AUG.MIN_SIZES", (400, 500, 600, 700, 800, 900, 1000, 1100, 1200), "shorter edges"
    )
    max_size: int = option("TEST.AUG.MAX_SIZE", 4000, "greatest longer edge")
    flip: bool = option("TEST.AUG.FLIP", True, "mirrored as well")
    merge: str = option("TEST.AUG.MERGE", "nms", "ours: nms per class, or wbf: weighted box fusion")
