"""Read annotation files of every layout into one index."""

from centernet2.data.readers.annotation_records import clip_xywh as clip_xywh
from centernet2.data.readers.catalog import find_dataset as find_dataset
from centernet2.data.readers.catalog import load_dataset as load_dataset
from centernet2.data.readers.layouts import ALL as ALL
from centernet2.data.readers.splits import load_split_files as load_split_files
