"""A data set that is given as the first word, without --data."""

from pathlib import Path

import pytest

import centernet2
from centernet2.cli import app
from centernet2.jobs import split_data
from tests.helpers.jobs import build_untrained
from tests.helpers.training import write_blocks


@pytest.mark.parametrize(("words", "is_data"), [
    (["my_data"], True),  # it is not there, as its reader will say
    (["my_data", "SOLVER.MAX_ITER", "3"], True),
    (["coco_2017"], True),
    (["./data.yaml"], True),
    (["here.json", "SEED", "1"], True),
    (["UPPER", "SEED", "1"], True),
    (["SEED", "1"], False),
    (["SOLVER.MAX_ITER", "3"], False),
    (["SOLVER.MAX_ITR", "3"], False),
    (["SOLVERMAX_ITER", "3"], False),
    (["solver.max_iter", "3"], False),
    ([], False),
    ([{"SEED": 1}], False),
    ([("SEED", 1)], False),
])  # fmt: skip
def test_data_are_told_from_keys(
    words: list[str], is_data: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.json").touch()
    data, overrides = split_data(words, None, command="train")
    assert (data, list(overrides)) == ((words[0], words[1:]) if is_data else (None, words))


@pytest.mark.parametrize(("word", "message"), [
    ("model.pth", "model.pth is a weights file: .* as --weights model.pth"),
    ("CenterNet2_R50_1x", "is a config: .* as --config-file CenterNet2_R50_1x"),
    ("other", "the data are given twice: 'other' and --data data"),
])  # fmt: skip
def test_words_that_are_no_data_are_refused(
    word: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pth").touch()
    with pytest.raises(ValueError, match=message):
        split_data([word], "data", command="train")


def test_commands_take_data_without_an_option(tmp_path: Path) -> None:
    for work in (
        lambda: centernet2.train("CenterNet2_R18_small", tmp_path / "nothing"),
        lambda: app(["train", str(tmp_path / "nothing")], exit_on_error=False),
        lambda: app(["check", str(tmp_path / "nothing")], exit_on_error=False),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match="nothing"):
            work()
    data = write_blocks(tmp_path)
    metrics = centernet2.evaluate(build_untrained(classes=1), data, {"TEST.IMS_PER_BATCH": 4})
    assert "bbox/AP" in metrics


def test_second_pair_of_a_class_map_is_no_data_set() -> None:
    with pytest.raises(ValueError, match=r"'b=c' is no data set .* --class-map is repeated"):
        split_data(["b=c"], "data", command="train")
