"""Results files: detections of this and of other programs, joined to a data set."""

from centernet2.data.readers.results.results_file import Results as Results
from centernet2.data.readers.results.results_file import parse_results as parse_results
from centernet2.data.readers.results.results_file import read_results as read_results
