"""Read annotation files of every layout into one index."""

from centernet2.data.readers.annotation_records import clip_xywh as clip_xywh
from centernet2.data.readers.catalog import DATASETS as DATASETS
from centernet2.data.readers.catalog import find_dataset as find_dataset
from centernet2.data.readers.catalog import load_dataset as load_dataset
from centernet2.data.readers.coco import load_coco as load_coco
from centernet2.data.readers.json_records import Record as Record
from centernet2.data.readers.layouts import ALL as ALL
from centernet2.data.readers.layouts import SplitFiles as SplitFiles
from centernet2.data.readers.layouts import find_splits as find_splits
from centernet2.data.readers.layouts import read_split_files as read_split_files
from centernet2.data.readers.splits import load_split as load_split
from centernet2.data.readers.splits import load_split_files as load_split_files
