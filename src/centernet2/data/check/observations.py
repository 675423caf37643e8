"""Find what is odd in the records of a data set that can be used."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from centernet2.data.class_names import join_classes, similar_names
from centernet2.data.dataset import advice_without_objects
from centernet2.data.findings import Action, Finding, FindingLog, ProblemExample
from centernet2.data.readers.coco import ReadRecords


def check_objects(records: ReadRecords, split: str) -> list[Finding]:
    """Find what training keeps as it is, and whether there is anything to train on."""
    dataset, log = records.dataset, FindingLog(split)
    files = records.images.files

    def image(i: int) -> ProblemExample:
        return ProblemExample(f"image {dataset.image_id(i)}: {files[i]}", files[i])

    no_objects: Action = "note" if split == "test" else "refuses"
    log.add(
        "no objects", no_objects, advice_without_objects(dataset),
        [] if (~dataset.crowd).any() else [0],
        lambda _: ProblemExample(f"{len(dataset)} images without an object"),
    )  # fmt: skip
    log.add(
        "crowds (iscrowd 1, or difficult in Pascal VOC)", "note",
        "training and metrics leave them out", np.flatnonzero(dataset.crowd).tolist(),
        lambda row: records.boxes.table.has("iscrowd")(int(records.boxes.rows[row])),
    )  # fmt: skip
    counts = np.bincount(dataset.labels, minlength=len(dataset.class_names))
    log.add(
        "classes without an object", "note", "they cannot be learned",
        np.flatnonzero(counts == 0).tolist(),
        lambda label: ProblemExample(dataset.class_names[label]),
    )  # fmt: skip
    log.add(
        "class names that differ in upper and lower case alone", "note",
        "--class-map OLD=NEW makes them one", similar_names(dataset.class_names),
        lambda names: ProblemExample(" and ".join(names)),
    )  # fmt: skip
    log.add(
        "images without an object", "note", "left out, or with FILTER_EMPTY_ANNOTATIONS False kept",
        np.flatnonzero(np.diff(dataset.offsets) == 0).tolist(), image,
    )  # fmt: skip
    log.add(
        "category ids with gaps", "note", "they are mapped to 0, 1, 2 ...",
        _gaps(dataset.category_ids),
        lambda gap: ProblemExample(f"after {gap[0]} comes {gap[1]}"),
    )  # fmt: skip
    return log.findings


def check_splits(names: Sequence[str]) -> list[Finding]:
    """Find out whether a training run needs a fraction of the images for validation."""
    lacks = "val" not in names and bool({"train", "all"} & set(names))
    log = FindingLog(names[0])
    log.add(
        "no validation split", "note",
        "train with --val-fraction 0.1, which keeps a tenth of the images for it",
        [0] if lacks else [], lambda _: ProblemExample(f"there is only {', '.join(names)}"),
    )  # fmt: skip
    return log.findings


def check_classes(class_names: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Find class names that only one of the training split and another split has.

    The order of the classes may differ: they are matched by name.
    """
    findings: list[Finding] = []
    trained = class_names.get("train", ())
    for split, own in class_names.items() if trained else ():
        join, is_val = join_classes(own, trained), split == "val"
        nothing_in_common = len(join.added) == len(own)
        if is_val and nothing_in_common:
            action: Action = "refuses"
            advice = "use the same names in both, or --class-map OLD=NEW"
        else:
            action = "keeps" if is_val else "note"
            advice = "the model cannot know them: they count as missed; --class-map OLD=NEW renames"
        log = FindingLog(split)
        log.add(
            "classes that the training split lacks", action, advice,
            join.added, lambda name: ProblemExample(f"'{name}'"),
        )  # fmt: skip
        log.add(
            "classes of the training split that are missing", "note",
            "detections of them are left out",
            join.missing, lambda name: ProblemExample(f"'{name}'"),
        )  # fmt: skip
        findings += log.findings
    return findings


def without_masks(finding: Finding) -> Finding:
    """Reword a finding about masks, which does not affect training on boxes alone."""
    done = {"refuses": "refuses them", "drops": "leaves these objects out"}.get(finding.action)
    action: Action = "keeps" if finding.action == "refuses" else "note"
    with_masks = "training with masks (MODEL.MASK_ON, INPUT.COPY_PASTE)"
    advice = f"{with_masks} {done}" if done else f"{with_masks}: {finding.advice}"
    return finding._replace(action=action, advice=advice)


def without_training(finding: Finding) -> Finding:
    """Reword a finding of the test split, which training does not read."""
    if finding.action != "refuses":
        return finding
    advice = f"training does not read this split; {finding.advice}"
    return finding._replace(action="keeps", advice=advice)


def _gaps(ids: Sequence[int | str]) -> list[tuple[int, int]]:
    numbers = sorted(each for each in ids if isinstance(each, int))
    return [(first, second) for first, second in pairwise(numbers) if second > first + 1]
