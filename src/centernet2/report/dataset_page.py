"""A data set as a page: its faults, its classes, the sizes of its objects, and pictures of them."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape as escape_markup
from rich.table import Table
from torch import Tensor

from centernet2.config import load_config
from centernet2.data.check.annotations import (
    Finding,
    Place,
    Record,
    box_of,
    clipped,
    size_of,
    without_incomplete,
)
from centernet2.data.image import ImageError, read_image
from centernet2.files import write_atomic, write_json
from centernet2.jobs.check import Examination, Split, as_json
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
from centernet2.visualize import draw, mosaic

CONFIG = "CenterNet2_R50_1x"  # whose sizes and levels are taken
SHOWN_CLASSES = 100
MOSAIC_CLASSES = 12
CROPS = 8  # of each of them
CROP_EDGE = 96  # pixels
WORST = 12  # pictures of faults
SIZES = [2**k for k in range(2, 12)]  # pixels: edges of the histogram
SHAPES = [2 ** (k / 2) for k in range(-8, 9)]
COUNTS = [1, 2, 3, 5, 9, 17, 33, 65, 129, 1025]


def findings_table(findings: Sequence[Finding]) -> Group | str:
    """The verdict for a terminal."""
    if not findings:
        return "nothing wrong was found"
    result = Table("split", "what", "how many", "training", "", box=SIMPLE_HEAD)
    for each in findings:
        action = (
            ""
            if each.action == "note"
            else f"{each.action} them"
            if each.action != "refuses"
            else "refuses"
        )
        examples = "; ".join(place.text for place in each.examples[:2])
        text = f"{each.advice} (first: {examples})"
        result.add_row(each.split, each.kind, f"{each.total:,}", action, escape_markup(text))
    faults = [each for each in findings if each.action != "note"]
    kinds = "1 kind" if len(faults) == 1 else f"{len(faults)} kinds"
    return Group(result, f"faults of {kinds} were found" if faults else "nothing wrong was found")


def write_report(examination: Examination, folder: Path, *, title: str) -> None:
    """Writes report.html, which needs no network, and findings.json."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "findings.json", as_json(examination.findings), indent=1)
    splits = {
        name: split._replace(content=without_incomplete(split.content))
        for name, split in examination.splits.items()
    }
    sections = [
        Section("summary", "Summary", "What there is.", cards(_figures(splits))),
        Section(
            "findings",
            "Findings",
            "What is wrong, and what training does about it.",
            _findings(examination),
        ),
        Section("classes", "Classes", "Objects of each class, by split.", _classes(splits)),
        Section("sizes", "Sizes", SIZES_TEXT, _sizes(splits)),
        Section(
            "objects", "Objects", "Some of each of the most frequent classes.", _mosaics(splits)
        ),
        Section("worst", "Faults in pictures", "The first examples.", _worst(examination)),
    ]
    text = page(
        f"Data set {title}", "What training will see", [each for each in sections if each.body]
    )
    write_atomic(folder / "report.html", text)


SIZES_TEXT = (
    "Roots of the boxes' areas in pixels of the files; shapes as width over height; objects in one image. "
    f"The levels of the first stage that objects belong to, at the size that {CONFIG} looks at."
)


def _figures(splits: Mapping[str, Split]) -> dict[str, float | str | None]:
    figures: dict[str, float | str | None] = {}
    for name, split in splits.items():
        figures[f"images, {name}"] = len(split.content["images"])
        figures[f"objects, {name}"] = len(split.content.get("annotations") or [])
    figures["classes"] = len(
        {c.get("name") for split in splits.values() for c in split.content.get("categories") or []}
    )
    return figures


def _findings(examination: Examination) -> str:
    if not examination.findings:
        return "<p>Nothing wrong was found.</p>"
    rows = []
    for each in examination.findings:
        examples = escape("; ".join(place.text for place in each.examples))
        advice = f"{escape(each.advice)}<br>{examples}"
        rows.append(
            [escape(each.split), escape(each.kind), number(each.total), each.action, advice]
        )
    return table(
        ["split", "what", "how many", "training", "advice and first examples"],
        rows,
        kind="words findings",
    )


def _classes(splits: Mapping[str, Split]) -> str:
    counts: dict[str, Counter[str]] = {}
    for name, split in splits.items():
        names = {c.get("id"): str(c.get("name")) for c in split.content.get("categories") or []}
        for annotation in split.content.get("annotations") or []:
            counts.setdefault(names.get(annotation.get("category_id"), "?"), Counter())[name] += 1
    ranked = sorted(counts.items(), key=lambda item: -sum(item[1].values()))
    most = max((sum(count.values()) for _, count in ranked), default=1)
    rows = [
        [
            escape(name),
            *(number(count[split]) for split in splits),
            bar_cell(sum(count.values()) / most),
        ]
        for name, count in ranked[:SHOWN_CLASSES]
    ]
    return table(["class", *splits, ""], rows)


def _boxes(split: Split) -> list[tuple[Record, tuple[float, float, float, float]]]:
    """Images and boxes that can be used."""
    images = {image.get("id"): image for image in split.content["images"]}
    pairs = [
        (images.get(a.get("image_id")), box_of(a)) for a in split.content.get("annotations") or []
    ]
    return [
        (image, box)
        for image, box in pairs
        if image is not None and box is not None and min(box[2:]) > 0 and size_of(image) is not None
    ]


def _sizes(splits: Mapping[str, Split]) -> str:
    pairs = [pair for split in splits.values() for pair in _boxes(split)]
    if not pairs:
        return ""
    roots = [math.sqrt(box[2] * box[3]) for _, box in pairs]
    shapes = [box[2] / box[3] for _, box in pairs]
    images = Counter(id(image) for image, _ in pairs)
    counts = list(images.values())
    charts = [
        tile("size", f"median {_median(roots):.0f} px", _histogram("size", roots, SIZES)),
        tile("shape", f"median {_median(shapes):.2f}", _histogram("shape", shapes, SHAPES)),
        tile(
            "objects per image",
            f"median {_median(counts):.0f}",
            _histogram("objects", counts, COUNTS),
        ),
    ]
    grid = f'<div class="grid" style="--least: 17rem">{"".join(charts)}</div>'
    return f"{grid}<h3>Width and height</h3>{_heat_map(pairs)}<h3>Levels</h3>{_levels(pairs)}"


def _heat_map(pairs: Sequence[tuple[Record, tuple[float, float, float, float]]]) -> str:
    """How many boxes are so wide (columns) and so high (rows)."""
    steps = [math.floor(math.log2(max(side, 1))) for _, box in pairs for side in box[2:]]
    counts = Counter(zip(steps[0::2], steps[1::2], strict=True))
    most, reach = max(counts.values()), range(min(steps), max(steps) + 1)
    rows = [
        [f"<td>{2**high} px</td>"]
        + [
            f'<td style="--share:{0.75 * math.sqrt(counts[wide, high] / most):.2f}">{counts[wide, high] or ""}</td>'
            for wide in reach
        ]
        for high in reversed(reach)
    ]
    return table(["height", *(f"{2**wide} px" for wide in reach)], rows, kind="matrix")


def _histogram(name: str, values: Sequence[float], edges: Sequence[float]) -> str:
    inner = [min(max(value, edges[0]), edges[-1] * 0.999) for value in values]
    counts = [sum(low <= value < high for value in inner) for low, high in pairwise(edges)]
    most = max(counts)
    chart = Chart(name, x=(edges[0], edges[-1]), y=(0, most), logarithmic=True)
    for (low, high), count in zip(pairwise(edges), counts, strict=True):
        chart.column(low, high, count, f"{low:.3g} to {high:.3g}: {count}")
    ticks = {edge: f"{edge:.4g}" for edge in edges[:: max(1, len(edges) // 4)]}
    return chart.axes(ticks, {0: "0", most: f"{most:,}"}).svg()


def _levels(pairs: Iterable[tuple[Record, tuple[float, float, float, float]]]) -> str:
    """Shares of the objects on each level, as the first stage assigns them by half a diagonal."""
    config = load_config(CONFIG)
    shorter, longer = config.augmentation.min_size_test, config.augmentation.max_size_test
    counts: Counter[str] = Counter()
    total = 0
    for image, box in pairs:
        width, height = size_of(image) or (1.0, 1.0)
        scale = min(shorter / min(width, height), longer / max(width, height))
        half = math.hypot(box[2], box[3]) / 2 * scale
        total += 1
        for name, (low, high) in zip(
            config.centernet.in_features, config.assigner.sizes_of_interest, strict=True
        ):
            counts[name] += low <= half <= high
    rows = [
        [name, f"{100 * counts[name] / total:.0f} %", bar_cell(counts[name] / total)]
        for name in config.centernet.in_features
    ]
    return table(["level", "objects", ""], rows)


def _mosaics(splits: Mapping[str, Split]) -> str:
    tiles = []
    crops: dict[str, list[tuple[Path, Record, tuple[float, float, float, float]]]] = {}
    for split in splits.values():
        names = {c.get("id"): str(c.get("name")) for c in split.content.get("categories") or []}
        images = {image.get("id"): image for image in split.content["images"]}
        for annotation in split.content.get("annotations") or []:
            image, box = images.get(annotation.get("image_id")), box_of(annotation)
            if image is None or box is None or size_of(image) is None:
                continue
            inner = clipped(box, image)
            if min(inner[2:]) >= 2:
                path = split.folder / str(image.get("file_name"))
                crops.setdefault(names.get(annotation.get("category_id"), "?"), []).append(
                    (path, image, inner)
                )
    ranked = sorted(crops.items(), key=lambda item: -len(item[1]))[:MOSAIC_CLASSES]
    for name, places in ranked:
        chosen = places[:: max(1, len(places) // CROPS)][:CROPS]
        pictures = [crop for path, _, box in chosen if (crop := _crop(path, box)) is not None]
        if pictures:
            sheet = mosaic(pictures, [""] * len(pictures), columns=4, cell=CROP_EDGE)
            shown = f'<img alt="{escape(name)}" style="width:100%" src="{jpeg_uri(sheet, longest=480)}">'
            tiles.append(tile(name, number(len(places)), shown))
    return f'<div class="grid">{"".join(tiles)}</div>' if tiles else ""


def _crop(path: Path, box: tuple[float, float, float, float]) -> Tensor | None:
    image = _readable(path)
    if image is None:
        return None
    x, y, width, height = (round(value) for value in box)
    part = image[:, max(0, y) : y + max(1, height), max(0, x) : x + max(1, width)]
    return part if part.numel() else None


def _worst(examination: Examination) -> str:
    tiles: list[str] = []
    for each in examination.findings:
        if each.split not in examination.splits or each.action == "note":
            continue
        folder = examination.splits[each.split].folder
        for place in each.examples[:2]:
            picture = _picture(folder, place)
            if picture is not None and len(tiles) < WORST:
                shown = f'<span class="picture"><img alt="" src="{jpeg_uri(picture, longest=480)}"></span>'
                tiles.append(tile(each.kind, each.split, shown, escape(place.text)))
    return f'<div class="grid">{"".join(tiles)}</div>' if tiles else ""


def _picture(folder: Path, place: Place) -> Tensor | None:
    image = _readable(folder / place.file_name) if place.file_name else None
    if image is None or place.box is None:
        return image
    x, y, width, height = place.box
    boxes = torch.tensor(
        [[min(x, x + width), min(y, y + height), max(x, x + width), max(y, y + height)]]
    )
    return draw(
        image,
        {"boxes": boxes, "labels": torch.zeros(1, dtype=torch.int64)},
        [place.text.split(" in ")[0]],
    )


def _readable(path: Path) -> Tensor | None:
    try:
        return read_image(path)
    except (ImageError, OSError):
        return None  # a finding of its own


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
