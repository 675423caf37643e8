"""Read a split of a data set as records, and what tests compare of them."""

from pathlib import Path

from centernet2.data.readers.layouts import SplitRecords, find_splits, read_split_files


def read(path: Path, split: str = "train") -> SplitRecords:
    """Read one split; undivided data are read whole."""
    splits = find_splits(path)
    return read_split_files(splits[split if split in splits else "all"], split)


def boxes(records: SplitRecords) -> list[tuple[str, list[float]]]:
    """Return class name and rounded box of each annotation."""
    name_of = {each["id"]: each["name"] for each in records.content["categories"]}
    return [
        (name_of[each["category_id"]], [round(x, 3) for x in each["bbox"]])
        for each in records.content["annotations"]
    ]


def counts(records: SplitRecords) -> dict[str, int]:
    """Return how often each kind of problem was found."""
    return {finding.kind: finding.total for finding in records.findings}
