"""Read annotation files of every layout into one index."""

from centernet2.data.readers.annotation_records import clip_xywh
from centernet2.data.readers.catalog import DATASETS, find_dataset, load_dataset
from centernet2.data.readers.coco import load_coco
from centernet2.data.readers.json_records import Record
from centernet2.data.readers.layouts import ALL, SplitFiles, find_splits, read_split_files
from centernet2.data.readers.splits import load_split, load_split_files

__all__ = [
    "ALL",
    "DATASETS",
    "Record",
    "SplitFiles",
    "clip_xywh",
    "find_dataset",
    "find_splits",
    "load_coco",
    "load_dataset",
    "load_split",
    "load_split_files",
    "read_split_files",
]
