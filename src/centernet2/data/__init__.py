"""Data sets: from annotation files to an index, from image files to batches."""

from centernet2.data.annotation_masks import draw_objects
from centernet2.data.class_changes import (
    category_names,
    rename_categories,
    rename_classes,
    without_classes,
)
from centernet2.data.class_names import class_list, clean_name, join_classes, shown
from centernet2.data.dataset import (
    DatasetsOptions,
    DetectionDataset,
    concatenate,
    require_ground_truth,
    require_masks,
    require_objects,
    with_classes,
    without_empty_images,
)
from centernet2.data.image_check import check_before_training
from centernet2.data.layout_writers import WRITERS, coco_content, require_writable
from centernet2.data.loader import LoaderOptions, eval_batches, train_batches
from centernet2.data.mixing import CopyPaste, Mixer, Mixing, MixUp, Mosaic
from centernet2.data.partial_labels import with_objects, with_unlabelled_classes
from centernet2.data.samplers import (
    MixtureSampler,
    RepeatFactorSampler,
    Sampler,
    ShuffledSampler,
    WeightedSampler,
    class_aware_weights,
    images_per_class,
    repeat_factors,
)
from centernet2.data.transforms import (
    AugmentationOptions,
    EfficientDetResizeCrop,
    LargeScaleJitter,
    PhotometricDistortion,
    RandomCrop,
    RandomFlip,
    ResizeShortestEdge,
    Sample,
    TrainTransform,
    Transform,
)
from centernet2.data.worker_images import LoadedImage, generator_of, read_indexed_image

__all__ = [
    "WRITERS",
    "AugmentationOptions",
    "CopyPaste",
    "DatasetsOptions",
    "DetectionDataset",
    "EfficientDetResizeCrop",
    "LargeScaleJitter",
    "LoadedImage",
    "LoaderOptions",
    "MixUp",
    "Mixer",
    "Mixing",
    "MixtureSampler",
    "Mosaic",
    "PhotometricDistortion",
    "RandomCrop",
    "RandomFlip",
    "RepeatFactorSampler",
    "ResizeShortestEdge",
    "Sample",
    "Sampler",
    "ShuffledSampler",
    "TrainTransform",
    "Transform",
    "WeightedSampler",
    "category_names",
    "check_before_training",
    "class_aware_weights",
    "class_list",
    "clean_name",
    "coco_content",
    "concatenate",
    "draw_objects",
    "eval_batches",
    "generator_of",
    "images_per_class",
    "join_classes",
    "read_indexed_image",
    "rename_categories",
    "rename_classes",
    "repeat_factors",
    "require_ground_truth",
    "require_masks",
    "require_objects",
    "require_writable",
    "shown",
    "train_batches",
    "with_classes",
    "with_objects",
    "with_unlabelled_classes",
    "without_classes",
    "without_empty_images",
]
