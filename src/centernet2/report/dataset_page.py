"""A page about a data set: problems, classes, sizes of objects, and pictures."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape as escape_markup
from rich.table import Table

from centernet2.data import DetectionDataset
from centernet2.data.check import (
    MAX_EXAMPLES,
    Examination,
    ExaminedSplit,
    Finding,
    ProblemExample,
    findings_json,
)
from centernet2.data.readers import clip_xywh
from centernet2.files import write_atomic, write_json
from centernet2.images.image_files import ImageError, read_image
from centernet2.images.resize import EvalTransform
from centernet2.report.page import (
    Chart,
    Section,
    bar_cell,
    cards,
    jpeg_uri,
    number,
    page,
    table,
    tile,
)
from centernet2.structures import FloatArray, IntArray, Pixels
from centernet2.visualize import draw, picture_grid

CLASS_ROWS = 100  # of the table of classes
MOSAIC_CLASSES = 12
CROPS_PER_CLASS = 8
CROP_EDGE = 96  # pixels
PROBLEM_PICTURES = 12
PICTURE_EDGE = 480  # pixels
SIZE_EDGES = [2**k for k in range(2, 12)]  # pixels: edges of the histogram's bins
SHAPE_EDGES = [2 ** (k / 2) for k in range(-8, 9)]
COUNT_EDGES = [1, 2, 3, 5, 9, 17, 33, 65, 129, 1025]

Datasets = Mapping[str, DetectionDataset]  # by split


class FirstStageSizes(NamedTuple):
    """The sizes of objects that each level of a first stage is assigned."""

    config_name: str
    resize: EvalTransform
    levels: Mapping[str, tuple[float, float]]  # name -> range of half a diagonal, in pixels


def findings_table(findings: Sequence[Finding]) -> Group | str:
    """The verdict for a terminal."""
    if not findings:
        return "no problems were found"
    result = Table("split", "what", "how many", "training", "", box=SIMPLE_HEAD)
    for each in findings:
        action = {"note": "", "refuses": "refuses"}.get(each.action, f"{each.action} them")
        examples = "; ".join(example.text for example in each.examples[:2])
        text = f"{each.advice} (first: {examples})"
        words = (each.split, each.kind, f"{each.total:,}", action, text)
        result.add_row(*map(escape_markup, words))
    problems = [each for each in findings if each.action != "note"]
    kinds = "1 kind" if len(problems) == 1 else f"{len(problems)} kinds"
    verdict = f"problems of {kinds} were found" if problems else "no problems were found"
    return Group(result, verdict)


def write_dataset_page(
    examination: Examination, folder: Path, *, title: str, first_stage: FirstStageSizes
) -> None:
    """Write report.html, which needs no network, and findings.json."""
    write_json(folder / "findings.json", findings_json(examination.findings), indent=1)
    splits = {name: split.dataset for name, split in examination.splits.items()}
    sizes_text = (
        "Square roots of the box areas in pixels of the files; aspect ratios as width over height; "
        "objects in one image. The levels of the first stage that objects are assigned to, at the "
        f"test size of {first_stage.config_name}; their ranges overlap, so that an object may be "
        "on two, and the shares add up to more than 100 %."
    )
    sections = [
        Section("summary", "Summary", "Images, objects and classes.", cards(_counts(splits))),
        Section(
            "findings",
            "Findings",
            "What is wrong, and what training does about it.",
            _findings(examination),
        ),
        Section("classes", "Classes", "Objects of each class, by split.", _classes(splits)),
        Section("sizes", "Sizes", sizes_text, _sizes(splits, first_stage)),
        Section(
            "objects",
            "Objects",
            "Some of each of the most frequent classes.",
            _mosaics(examination.splits),
        ),
        Section("worst", "Problems in pictures", "The first examples.", _problems(examination)),
    ]
    text = page(
        f"Data set {title}",
        "What training will see",
        [each for each in sections if each.body],
        command="check",
    )
    write_atomic(folder / "report.html", text)


def _counts(splits: Datasets) -> dict[str, float | str | None]:
    counts: dict[str, float | str | None] = {}
    for name, dataset in splits.items():
        counts[f"images, {name}"] = len(dataset)
        counts[f"objects, {name}"] = len(dataset.labels)
    counts["classes"] = len({name for each in splits.values() for name in each.class_names})
    return counts


def _findings(examination: Examination) -> str:
    if not examination.findings:
        return "<p>No problems were found.</p>"
    rows = []
    for each in examination.findings:
        examples = escape("; ".join(example.text for example in each.examples[:MAX_EXAMPLES]))
        advice = f"{escape(each.advice)}<br>{examples}"
        rows.append(
            [escape(each.split), escape(each.kind), number(each.total), each.action, advice]
        )
    return table(
        ["split", "what", "how many", "training", "advice and first examples"],
        rows,
        kind="words findings",
    )


def _classes(splits: Datasets) -> str:
    counts: dict[str, Counter[str]] = {}
    for split, dataset in splits.items():
        numbers = np.bincount(dataset.labels, minlength=len(dataset.class_names))
        for name, count in zip(dataset.class_names, numbers.tolist(), strict=True):
            if count:
                counts.setdefault(name, Counter())[split] += count
    ranked = sorted(counts.items(), key=lambda item: -sum(item[1].values()))
    most = max((sum(count.values()) for _, count in ranked), default=1)
    rows = [
        [
            escape(name),
            *(number(count[split]) for split in splits),
            bar_cell(sum(count.values()) / most),
        ]
        for name, count in ranked[:CLASS_ROWS]
    ]
    return table(["class", *splits, ""], rows)


def _sizes(splits: Datasets, first_stage: FirstStageSizes) -> str:
    sides = np.concatenate([dataset.xywh[:, 2:] for dataset in splits.values()])  # [B, 2]
    if not len(sides):
        return ""
    roots, shapes = np.sqrt(sides.prod(axis=1)), sides[:, 0] / sides[:, 1]
    counts = np.concatenate([np.diff(each.offsets) for each in splits.values()])
    counts = counts[counts > 0]
    distributions = [
        ("size", roots, SIZE_EDGES, f"median {np.median(roots):.0f} px"),
        ("aspect ratio", shapes, SHAPE_EDGES, f"median {np.median(shapes):.2f}"),
        ("objects per image", counts, COUNT_EDGES, f"median {np.median(counts):.0f}"),
    ]
    charts = "".join(
        tile(name, note, _histogram(name, values, edges))
        for name, values, edges, note in distributions
    )
    grid = f'<div class="grid" style="--least: 17rem">{charts}</div>'
    levels = _levels(splits.values(), first_stage)
    return f"{grid}<h3>Width and height</h3>{_size_matrix(sides)}<h3>Levels</h3>{levels}"


def _size_matrix(sides: FloatArray) -> str:
    """Numbers of boxes by width (columns) and height (rows); `sides` [B, 2] has both."""
    steps = np.log2(np.maximum(sides, 1)).astype(int).ravel().tolist()
    counts = Counter(zip(steps[0::2], steps[1::2], strict=True))
    most, reach = max(counts.values()), range(min(steps), max(steps) + 1)

    def cell(wide: int, high: int) -> str:
        count = counts[wide, high]
        share = 0.75 * math.sqrt(count / most)
        return f'<td style="--share:{share:.2f}">{count or ""}</td>'

    rows = [
        [f"<td>{2**high} px</td>", *(cell(wide, high) for wide in reach)]
        for high in reversed(reach)
    ]
    return table(["height", *(f"{2**wide} px" for wide in reach)], rows, kind="matrix")


def _histogram(name: str, values: NDArray[Any], edges: Sequence[float]) -> str:
    counts = np.histogram(values.clip(edges[0], edges[-1]), edges)[0].tolist()
    most = max(counts)
    chart = Chart(name, x=(edges[0], edges[-1]), y=(0, most), logarithmic=True)
    for (low, high), count in zip(pairwise(edges), counts, strict=True):
        chart.column(low, high, count, f"{low:.3g} to {high:.3g}: {count}")
    ticks = {edge: f"{edge:.4g}" for edge in edges[:: max(1, len(edges) // 4)]}
    chart.axes(ticks, {0: "0", most: f"{most:,}"})
    return chart.svg()


def _levels(datasets: Iterable[DetectionDataset], first_stage: FirstStageSizes) -> str:
    """Shares of the objects on each level, which are assigned by half a diagonal."""
    counts: Counter[str] = Counter()
    total = 0
    for dataset in datasets:
        total += len(dataset.labels)
        sizes = [dataset.size(i) for i in range(len(dataset))]
        new_sizes = [first_stage.resize.output_size(*size) for size in sizes]
        scales = np.array(new_sizes) / np.array(sizes)  # [I, 2] of height and width
        scale = np.repeat(scales[:, ::-1], np.diff(dataset.offsets), axis=0)  # [B, 2]
        halves = np.linalg.norm(dataset.xywh[:, 2:] * scale, axis=1) / 2
        for name, (low, high) in first_stage.levels.items():
            counts[name] += int(((low <= halves) & (halves <= high)).sum())
    rows = [
        [name, f"{100 * counts[name] / total:.0f} %", bar_cell(counts[name] / total)]
        for name in first_stage.levels
    ]
    return table(["level", "objects", ""], rows)


def _mosaics(splits: Mapping[str, ExaminedSplit]) -> str:
    tiles = []
    rows: dict[str, list[tuple[ExaminedSplit, IntArray]]] = {}  # [O] of the objects of a class
    for split in splits.values():
        large = np.flatnonzero(_clipped(split)[:, 2:].min(axis=1, initial=np.inf) >= 2)
        large = large[np.argsort(split.dataset.labels[large], kind="stable")]
        labels = split.dataset.labels[large]
        for own in np.split(large, np.flatnonzero(np.diff(labels)) + 1) if len(large) else ():
            name = split.dataset.class_names[split.dataset.labels[own[0]]]
            rows.setdefault(name, []).append((split, own))
    counts = Counter({name: sum(len(own) for _, own in parts) for name, parts in rows.items()})
    for name, count in counts.most_common(MOSAIC_CLASSES):
        step = max(1, count // CROPS_PER_CLASS)
        places = [(split, row) for split, own in rows[name] for row in own[::step].tolist()]
        crops = (_crop(*place) for place in places[:CROPS_PER_CLASS])
        pictures = [crop for crop in crops if crop is not None]
        if pictures:
            grid = picture_grid(pictures, [""] * len(pictures), columns=4, cell=CROP_EDGE)
            source = jpeg_uri(grid, longest=PICTURE_EDGE)
            shown = f'<img alt="{escape(name)}" style="width:100%" src="{source}">'
            tiles.append(tile(name, number(count), shown))
    return f'<div class="grid">{"".join(tiles)}</div>' if tiles else ""


def _clipped(split: ExaminedSplit, rows: slice = slice(None)) -> FloatArray:
    """Return the boxes of a split [B, 4] as xywh, clipped to their images."""
    sizes = split.records.images.sizes[split.records.boxes.image[rows]]
    return clip_xywh(split.dataset.xywh[rows], sizes)


def _crop(split: ExaminedSplit, row: int) -> Pixels | None:
    image = _readable(split.dataset.image_path(int(split.records.boxes.image[row])))
    if image is None:
        return None
    x, y, width, height = _clipped(split, slice(row, row + 1))[0].round().astype(int).tolist()
    part = image[max(0, y) : y + max(1, height), max(0, x) : x + max(1, width)]
    return part if part.size else None


def _problems(examination: Examination) -> str:
    tiles: list[str] = []
    for each in examination.findings:
        if each.split not in examination.splits or each.action == "note":
            continue
        folder = examination.splits[each.split].dataset.folder
        for example in each.examples[:2]:
            picture = _picture(folder, example) if len(tiles) < PROBLEM_PICTURES else None
            if picture is not None:
                source = jpeg_uri(picture, longest=PICTURE_EDGE)
                shown = f'<span class="picture"><img alt="" src="{source}"></span>'
                tiles.append(tile(each.kind, each.split, shown, escape(example.text)))
    return f'<div class="grid">{"".join(tiles)}</div>' if tiles else ""


def _picture(folder: Path, example: ProblemExample) -> Pixels | None:
    image = _readable(folder / example.file_name) if example.file_name else None
    if image is None or example.box is None:
        return image
    x, y, width, height = example.box
    boxes = np.array(
        [[min(x, x + width), min(y, y + height), max(x, x + width), max(y, y + height)]]
    )
    objects = {"boxes": boxes, "labels": np.zeros(1, np.int64)}
    return draw(image, objects, [example.text.split(" in ")[0]])


def _readable(path: Path) -> Pixels | None:
    try:
        return read_image(path)
    except (ImageError, OSError):
        return None  # a finding of its own
