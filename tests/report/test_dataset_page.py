from pathlib import Path

import pytest
from rich.console import Console

from centernet2.data import DetectionDataset
from centernet2.data.check import Examination, ExaminedSplit, Finding, ProblemExample
from centernet2.images.resize import FitShortestEdge
from centernet2.report.dataset_page import (
    CROPS_PER_CLASS,
    FirstStageSizes,
    findings_table,
    write_dataset_page,
)
from tests.helpers.data import INCOMPLETE, Content, findings_of, make_content, read_content

SIZES = FirstStageSizes(
    "small", FitShortestEdge(length=80, max_size=133), {"p3": (0.0, 20.0), "p4": (15.0, 1e9)}
)


def examine_without_images(content: Content) -> Examination:
    split = ExaminedSplit(content, read_content(content), [])
    return Examination({"train": split}, findings_of(content))


@pytest.mark.parametrize("name", INCOMPLETE)
def test_page_of_incomplete_records(name: str, tmp_path: Path) -> None:
    content = make_content()
    INCOMPLETE[name](content)
    write_dataset_page(
        examine_without_images(content), tmp_path / "report", title=name, first_stage=SIZES
    )
    assert (tmp_path / "report" / "findings.json").is_file()


def test_levels_at_the_test_size(tmp_path: Path) -> None:
    examination = examine_without_images(make_content())
    write_dataset_page(examination, tmp_path, title="toy", first_stage=SIZES)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    # half diagonals at the test size: 18.6, 42.4, 9.4 and 66.7 pixels
    assert "50 %" in page.partition("p3")[2].partition("p4")[0]
    assert "75 %" in page.partition("p4")[2]
    assert "test size of small; their ranges overlap, so that an object may be on two" in page


def test_only_drawn_objects_are_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be millions of others."""
    content = make_content()
    first = content["annotations"][0]
    content["annotations"] = [
        {**first, "id": i, "bbox": [i % 40, i % 30, 8, 8], "category_id": 3 + 4 * (i % 2)}
        for i in range(1, 300)
    ]
    looked: list[int] = []
    find = DetectionDataset.image_path
    monkeypatch.setattr(
        DetectionDataset, "image_path", lambda own, i: looked.append(i) or find(own, i)
    )
    write_dataset_page(examine_without_images(content), tmp_path, title="toy", first_stage=SIZES)
    assert len(looked) == 2 * CROPS_PER_CLASS


def test_table_shows_brackets() -> None:
    words = "a list [x, y] for each point"
    finding = Finding("train", words, 1, "repairs", words, (ProblemExample(words),))
    console = Console(width=300)
    with console.capture() as shown:
        console.print(findings_table([finding]))
    assert shown.get().count(words) == 3
