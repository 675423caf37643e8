"""The card of a training run, and the run done again from it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from centernet2 import cli
from centernet2.builders.training.reproduction import Reproduction, differences
from centernet2.builders.training.training_card import read_card
from centernet2.checkpoint import load_checkpoint, save_checkpoint
from centernet2.checkpoint.checkpoint import digest_of
from centernet2.jobs.card import card
from centernet2.jobs.reproduce import reproduce
from tests.helpers.data import load_split
from tests.helpers.jobs import save_untrained
from tests.helpers.training import train, write_blocks

STEPS = ("SOLVER.MAX_ITER", "2", "TEST.EVAL_PERIOD", "0")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """Train two steps with a seed."""
    folder = tmp_path_factory.mktemp("card") / "run"
    train(data, folder, *STEPS)
    return folder


def test_card_is_written_for_people_and_programs(run: Path, data: Path, tmp_path: Path) -> None:
    english, chinese = map(Path, card(run, output=tmp_path / "cards"))
    text = english.read_text()
    assert "## Train it again" in text and "## 重新训练" in chinese.read_text()
    assert f"--data {data}" in text and "SEED 3" in text
    record = read_card(english)
    assert record == read_card(chinese) == read_card(run)
    checkpoint = load_checkpoint(run)
    assert record["weights"] == digest_of(checkpoint.weights)
    assert record["origin"]["seed"] == 3
    train_set = record["origin"]["data"]["train"]
    assert (train_set["images"], train_set["objects"]) == (4, 4)
    assert record["metrics"]["bbox/AP"] == checkpoint.metrics["bbox/AP"]
    assert record["metrics"]["bbox/APl"] is None  # no large objects
    assert record["file"] == "model_final.pth"


def test_data_digest_tells_moved_data_from_changed_data(tmp_path: Path) -> None:
    from centernet2.builders.training.training_origin import describe_data

    def digest(folder: Path) -> str:
        return describe_data(load_split(folder))["sha256"]

    first, second = (write_blocks(tmp_path / name) for name in ("first", "second"))
    assert digest(first) == digest(second)
    annotations = second / "annotations" / "instances_train.json"
    content = json.loads(annotations.read_text())
    content["annotations"][0]["bbox"][0] += 1
    annotations.write_text(json.dumps(content))
    assert digest(first) != digest(second)
    before = digest(first)
    image = next((first / "images").iterdir())
    image.write_bytes(image.read_bytes() + b" ")
    assert digest(first) != before


def test_weights_of_unknown_origin_have_no_card(tmp_path: Path) -> None:
    weights = save_untrained(tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"model\.pth does not say how it was trained"):
        card(weights)
    assert [*tmp_path.iterdir()] == [weights]


def test_foreign_and_changed_cards_are_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text("# mine")
    with pytest.raises(ValueError, match="was not made by `centernet2 card`"):
        card(run, output=tmp_path)
    with pytest.raises(ValueError, match=r"card\.md holds no record"):
        reproduce(tmp_path / "card.md")
    (english, _) = map(Path, card(run, output=tmp_path / "cards"))
    for name in ("weights", "threads", "sha256"):
        changed = tmp_path / f"{name}.md"
        changed.write_text(english.read_text().replace(f'"{name}":', '"other":'))
        with pytest.raises(ValueError, match=rf"its record has been changed \('{name}' is missing"):
            reproduce(changed)
    with pytest.raises(ValueError, match=r"--output-dir .*card\.md cannot be used"):
        reproduce(run, output_dir=tmp_path / "card.md")


def test_differences_say_why_weights_may_differ(run: Path) -> None:
    origin = read_card(run)["origin"]
    assert differences(origin, origin) == []
    other: dict[str, Any] = json.loads(json.dumps(origin))
    other["versions"]["torch"] = "1.0"
    other["machine"]["threads"] += 1
    assert [reason.split()[0] for reason in differences(origin, other)] == ["torch", "threads"]
    assert "torch is 1.0" in differences(origin, other)[0]
    seedless = {**origin, "command": {**origin["command"], "overrides": {}}}
    assert differences(seedless, origin)[0].startswith("the run had no --seed")


@pytest.mark.parametrize(("same", "inexact", "after", "verdict"), [
    (True, (), 50.0, True),
    (False, (), 50.0, False),  # they must be equal
    (False, ("torch is 1.0",), 50.4, True),
    (False, ("torch is 1.0",), 50.6, False),
    (False, ("torch is 1.0",), None, False),
])  # fmt: skip
def test_verdict(same: bool, inexact: tuple[str, ...], after: float | None, verdict: bool) -> None:
    result = Reproduction(same, inexact, 50.0, after)
    assert result.is_same is verdict
    assert result.text()[0].startswith("the same" if verdict else "not the same")


def test_changed_initial_weights_are_refused(data: Path, tmp_path: Path) -> None:
    weights = save_untrained(tmp_path / "old.pth", ("block",))
    train(data, tmp_path / "run", "MODEL.WEIGHTS", str(weights), *STEPS)
    before = load_checkpoint(weights)
    changed = {name: tensor + 1 for name, tensor in before.weights.items()}
    save_checkpoint(weights, replace(before, weights=changed))
    with pytest.raises(ValueError, match=r"old\.pth does not hold .* put that file back"):
        reproduce(tmp_path / "run", output_dir=tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.long
def test_run_is_reproduced_to_the_bit(run: Path, tmp_path: Path) -> None:
    (english, _) = map(Path, card(run, output=tmp_path))
    verdict = reproduce(english)
    assert verdict.is_same and "equal to the bit" in verdict.lines[0]
    assert (tmp_path / "reproduced" / "model_final.pth").is_file()


@pytest.mark.long
def test_run_of_another_seed_is_told_apart(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = load_checkpoint(run)
    assert checkpoint.origin is not None
    command = checkpoint.origin["command"]
    overrides = {**command["overrides"], "SEED": 4}
    origin = {**checkpoint.origin, "command": {**command, "overrides": overrides}, "seed": 4}
    save_checkpoint(tmp_path / "model_final.pth", replace(checkpoint, origin=origin))
    with pytest.raises(SystemExit) as exit_code:
        cli.app(["reproduce", str(tmp_path / "model_final.pth")], exit_on_error=False)
    assert exit_code.value.code == 1
    assert "not the same: the weights differ" in capsys.readouterr().out


def test_other_data_are_refused(run: Path, tmp_path: Path) -> None:
    other = write_blocks(tmp_path / "other")
    image = next((other / "images").iterdir())
    image.write_bytes(image.read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"split is not that of the card.*--data"):
        reproduce(run, data=other, output_dir=tmp_path / "again")
    assert not (tmp_path / "again").exists()
