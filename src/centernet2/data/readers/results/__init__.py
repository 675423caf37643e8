"""Results files: detections of this and of other programs, joined to a data set."""

from centernet2.data.readers.results.results_file import Results, parse_results, read_results

__all__ = ["Results", "parse_results", "read_results"]
