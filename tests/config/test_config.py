"""Configs: equal to the reference's, round trips, errors, fields and keys."""

import ast
import logging
import operator
import os
import re
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from centernet2.builders.detector.network import NETWORKS
from centernet2.config import (
    ConfigError,
    config_names,
    configuration_page,
    load_config,
    parse_config,
)
from centernet2.config.ignored import IGNORED_KEYS
from centernet2.config.keys import OPTIONS
from centernet2.config.option import SKIPPED_KEYS
from centernet2.config.tree import SLOTS, _report_ignored, groups

REFERENCE = [
    "CenterNet-FPN_R50_1x", "CenterNet-S4_DLA_8x", "CenterNet2-F_R50_1x",
    "CenterNet2_DLA-BiFPN-P3_24x", "CenterNet2_DLA-BiFPN-P3_4x",
    "CenterNet2_DLA-BiFPN-P5_640_16x", "CenterNet2_DLA-BiFPN-P5_640_16x_ST",
    "CenterNet2_DLA-fcosBiFPN-P5_640_16x_ST", "CenterNet2_R2-101-DCN-BiFPN_1280_4x",
    "CenterNet2_R2-101-DCN-BiFPN_4x+4x_1560_ST", "CenterNet2_R2-101-DCN_896_4x",
    "CenterNet2_R50_1x", "CenterNet2_X101-DCN_2x", "LVIS_CenterNet2_R50_1x",
    "LVIS_CenterNet2_R50_Fed_1x", "O365_CenterNet2_R50_1x", "nuImages_CenterNet2_DLA_640_8x",
]  # fmt: skip


SOURCE = Path(__file__).parents[2] / "src" / "centernet2"


def leaves(tree: dict, prefix: str = ""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@pytest.mark.parametrize("name", REFERENCE)
def test_published_config_equals_the_reference(name: str, shared: Path) -> None:
    golden = dict(
        leaves(yaml.safe_load((shared / "golden" / "configs" / f"{name}.yaml").read_text()))
    )
    ours = dict(leaves(load_config(name).to_dict()))
    skipped = {k for k in golden if any(k == s or k.startswith(f"{s}.") for s in SKIPPED_KEYS)}
    assert {k: ours[k] for k in golden.keys() - skipped} == {
        k: golden[k] for k in golden.keys() - skipped
    }


def test_all_published_configs_are_packaged() -> None:
    assert set(REFERENCE) <= set(config_names())


@pytest.mark.parametrize("name", config_names())
def test_written_config_reads_back_equal(name: str) -> None:
    config = load_config(name)
    again = parse_config(config.to_yaml(), config.name)
    assert again.to_dict() == config.to_dict()


def test_overrides_are_typed_and_win() -> None:
    config = load_config(
        "CenterNet2_R50_1x",
        ["SOLVER.BASE_LR", "1e-3", "SOLVER.STEPS", "(1, 2)", "MODEL.WEIGHTS", "a b.pth",
         "SOLVER.AMP.ENABLED", "True",
         "MODEL.CENTERNET.SOI", "[[0, 8], [4, 16], [8, 32], [16, 64], [32, 1000]]"],
    )  # fmt: skip
    assert config["SOLVER.BASE_LR"] == config.optimizer.base_lr == 0.001
    assert config["SOLVER.STEPS"] == (1, 2)
    assert config["MODEL.WEIGHTS"] == "a b.pth"
    assert config["SOLVER.AMP.ENABLED"] is True
    assert config["MODEL.CENTERNET.SOI"][4] == (32, 1000)
    assert {"SOLVER.STEPS", "MODEL.RESNETS.DEPTH"} <= config.stated
    assert "MODEL.ROI_HEADS.NUM_CLASSES" not in config.stated


@pytest.mark.parametrize(("overrides", "key", "value"), [
    (["SOLVER.BASE_LR", 0.01], "SOLVER.BASE_LR", 0.01),
    (["SOLVER.BASE_LR", 1], "SOLVER.BASE_LR", 1.0),
    (["SOLVER.BASE_LR", np.float32(0.5)], "SOLVER.BASE_LR", 0.5),
    (["SOLVER.MAX_ITER", np.int64(3)], "SOLVER.MAX_ITER", 3),
    (["SOLVER.MAX_ITER", torch.tensor(3)], "SOLVER.MAX_ITER", 3),
    (["INPUT.MIN_SIZE_TRAIN", (128,)], "INPUT.MIN_SIZE_TRAIN", (128,)),
    (["INPUT.MIN_SIZE_TRAIN", [64, np.int32(128)]], "INPUT.MIN_SIZE_TRAIN", (64, 128)),
    (["INPUT.MIN_SIZE_TRAIN", np.array([64, 128])], "INPUT.MIN_SIZE_TRAIN", (64, 128)),
    (["MODEL.FPN.IN_FEATURES", "[res4, res5]"], "MODEL.FPN.IN_FEATURES", ("res4", "res5")),
    (["MODEL.WEIGHTS", "[a].pth"], "MODEL.WEIGHTS", "[a].pth"),
    (["MODEL.MASK_ON", True], "MODEL.MASK_ON", True),
    (["MODEL.MASK_ON", np.bool_(True)], "MODEL.MASK_ON", True),
    (["MODEL.WEIGHTS", Path("a.pth")], "MODEL.WEIGHTS", "a.pth"),
    ({"SOLVER.BASE_LR": 0.01}, "SOLVER.BASE_LR", 0.01),
    ({"SOLVER.BASE_LR": "1e-2"}, "SOLVER.BASE_LR", 0.01),
    ({"SOLVER": {"CLIP_GRADIENTS": {"ENABLED": True}}}, "SOLVER.CLIP_GRADIENTS.ENABLED", True),
    ([("SEED", 1), ("SOLVER.MAX_ITER", 3)], "SOLVER.MAX_ITER", 3),
    ([{"SOLVER.MAX_ITER": 3}, "SEED", 1], "SOLVER.MAX_ITER", 3),
    (["SOLVER.MAX_ITER", "1e4"], "SOLVER.MAX_ITER", 10_000),
    (["SOLVER.STEPS", (3.0, 5)], "SOLVER.STEPS", (3, 5)),
    (["OUTPUT_DIR", "007"], "OUTPUT_DIR", "007"),
    (["OUTPUT_DIR", "~/runs"], "OUTPUT_DIR", os.path.expanduser("~/runs")),
])  # fmt: skip
def test_overrides_of_python(overrides: Any, key: str, value: object) -> None:
    config = load_config("CenterNet2_R18_small", overrides)
    assert config[key] == value and type(config[key]) is type(value)
    assert load_config("CenterNet2_R18_small").override(overrides) == config


@pytest.mark.parametrize(("overrides", "message"), [
    ("SOLVER.BASE_LR 0.01", "overrides are a list of keys and values or a dictionary"),
    ([0.01, "SOLVER.BASE_LR"], "0.01 is no key"),
    (["SOLVER.BASE_LR", None], "SOLVER.BASE_LR is None"),
    (["SOLVER.MAX_ITER", True], "SOLVER.MAX_ITER is True"),
    (["SOLVER.MAX_ITER", 1.5], "SOLVER.MAX_ITER is 1.5"),
    ({"SOLVER.BASE_RL": 1}, "did you mean 'SOLVER.BASE_LR'"),
    ({"SOLVER": 1}, "'SOLVER' is a group of options, such as SOLVER."),
    (["SOLVER.BASE_LR", {"a": 1}], "SOLVER.BASE_LR is {'a': 1}"),
    (["SOLVER.BASE_RL", "1"], "did you mean 'SOLVER.BASE_LR'"),
    (["--weigths", "R-50.pkl"], "there is no option '--weigths'; --help lists"),
    (["SOLVER.BASE_LR", "fast"], "SOLVER.BASE_LR is 'fast'"),
    (["SOLVER.MAX_ITER", "1.5"], "SOLVER.MAX_ITER is 1.5"),
    (["SOLVER.STEPS", "(1, 'x')"], "SOLVER.STEPS is (1, 'x'); it takes a list of whole"),
    (["SOLVER.MAX_ITER"], "'SOLVER.MAX_ITER' has no value"),
    (["SOLVER.LOG_PERIOD", "0"], "SOLVER.LOG_PERIOD is 0; it takes a whole number from 1"),
    (["SOLVER.ACCUMULATION_STEPS", "0"], "SOLVER.ACCUMULATION_STEPS is 0; it takes a whole"),
    *((["DATASETS.TRAIN", text], f"DATASETS.TRAIN is '{text[:9]}")
      for text in ("{[1]: 2}", "[2024-13-45]", "[" * 3000 + "]" * 3000, "-" * 9000 + "1")),
])  # fmt: skip
def test_wrong_overrides_are_refused(overrides: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config("CenterNet2_R18_small", overrides)
    assert message in str(error.value)


def test_values_of_pytorch_and_ranges() -> None:
    values = {"MODEL.DEVICE": torch.device("cpu"), "INPUT.MIN_SIZE_TRAIN": range(64, 128, 32)}
    config = load_config("CenterNet2_R18_small", values)
    assert [config[key] for key in values] == ["cpu", (64, 96)]


def test_other_types_of_values_and_keys_are_named() -> None:
    config = load_config("CenterNet2_R18_small")
    for values in (None, ["SEED", 1]):
        with pytest.raises(ConfigError, match="`replace` takes a dictionary of values by key"):
            config.replace(values)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="there is no option '3'"):
        config[3]  # type: ignore[index]
    with pytest.raises(ConfigError) as error:
        config.replace({"INPUT.MIN_SIZE_TRAIN": np.zeros(10000)})
    assert len(str(error.value)) < 400


def test_number_of_classes_of_a_packaged_file_is_no_wish(tmp_path: Path) -> None:
    key = "MODEL.ROI_HEADS.NUM_CLASSES"
    packaged = load_config("LVIS_CenterNet2_R50_1x")
    assert packaged[key] == 1203 and key not in packaged.stated
    assert key in load_config("LVIS_CenterNet2_R50_1x", {key: 3}).stated
    own = tmp_path / "own.yaml"
    own.write_text("_BASE_: LVIS_CenterNet2_R50_1x\n")
    assert key not in load_config(own).stated
    own.write_text("_BASE_: LVIS_CenterNet2_R50_1x\nMODEL: {ROI_HEADS: {NUM_CLASSES: 3}}\n")
    assert key in load_config(own).stated


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'CenterNet2_R50_1x'"):
        load_config("CenterNet2_R5_1x")


def test_unknown_key_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("_BASE_: CenterNet2_R50_1x.yaml\nMODEL: {CENTERNET: {NUM_CLASES: 3}}\n")
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert "'MODEL.CENTERNET.NUM_CLASES'" in str(error.value)
    assert "mine.yaml" in str(error.value)
    assert "MODEL.CENTERNET.NUM_CLASSES" in str(error.value)


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "\x00"])
def test_file_without_config_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_config(path)


def test_base_file_lies_beside_or_in_package(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("_BASE_: Base-CenterNet2.yaml\nSOLVER: {MAX_ITER: 7}\n")
    (tmp_path / "mine.yaml").write_text("_BASE_: base.yaml\nSOLVER: {BASE_LR: 0.5}\n")
    config = load_config(tmp_path / "mine.yaml")
    assert (config.name, config["SOLVER.MAX_ITER"], config["SOLVER.BASE_LR"]) == ("mine", 7, 0.5)
    assert config["MODEL.ROI_HEADS.NAME"] == "CustomCascadeROIHeads"


def test_last_block_wins_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "doubled.yaml"
    path.write_text("INPUT: {FORMAT: RGB}\nINPUT: {TRAIN_SIZE: 5}\n")
    with caplog.at_level(logging.WARNING):
        config = load_config(path)
    assert (config["INPUT.FORMAT"], config["INPUT.TRAIN_SIZE"]) == ("BGR", 5)
    assert "'INPUT' occurs twice" in caplog.text


def test_config_is_frozen_and_replaced_whole() -> None:
    config = load_config("CenterNet2_R50_1x")
    with pytest.raises(FrozenInstanceError):
        config.optimizer.base_lr = 1.0  # type: ignore[misc]
    other = config.replace({"MODEL.ROI_HEADS.NUM_CLASSES": 3})
    assert (other["MODEL.ROI_HEADS.NUM_CLASSES"], config["MODEL.ROI_HEADS.NUM_CLASSES"]) == (3, 80)
    with pytest.raises(ConfigError):
        config.replace({"MODEL.ROI_HEADS.NUM_CLASES": 3})


def test_meaning_lists_every_backbone_name() -> None:
    meaning = next(option.meaning for option in OPTIONS if option.key == "MODEL.BACKBONE.NAME")
    assert set(NETWORKS) == set(re.findall(r"build_\w+|timm", meaning))


def test_every_field_has_key_and_meaning() -> None:
    assert len(OPTIONS) == len(SLOTS) == len({option.field for option in OPTIONS})
    assert all(option.meaning for option in OPTIONS)
    assert {option.field for option in OPTIONS} == {
        path for name, group in groups() for path in leaf_paths(name, group)
    }


def leaf_paths(name: str, value: object) -> Iterator[str]:
    """Yield the dotted paths of all fields of a group."""
    if is_dataclass(value):
        for field in fields(value):
            yield from leaf_paths(f"{name}.{field.name}", getattr(value, field.name))
    else:
        yield name


def test_ignored_option_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    _report_ignored.cache_clear()
    for _ in range(2):
        load_config("CenterNet2_R50_1x", ["MODEL.PROPOSAL_GENERATOR.NAME", "RPN"])
    load_config("CenterNet2_R50_1x", ["INPUT.MASK_FORMAT", "bitmask"])
    assert [record.message for record in caplog.records] == [
        "MODEL.PROPOSAL_GENERATOR.NAME 'RPN' is ignored: the first stage is CenterNet"
    ]


@pytest.mark.parametrize(("key", "field"), [
    ("INPUT.NOT_CLAMP_BOX", "assigner.clamp_boxes"),
    ("MODEL.CENTERNET.NOT_NMS", "decoder.nms"),
    ("MODEL.CENTERNET.NOT_NORM_REG", "criterion.weigh_boxes"),
    ("MODEL.CENTERNET.NO_REDUCE", "criterion.average_over_processes"),
])  # fmt: skip
@pytest.mark.parametrize("value", [True, False])
def test_negated_key_sets_the_positive_field(key: str, field: str, value: bool) -> None:
    config = load_config("CenterNet2_R50_1x", [key, str(value)])
    assert operator.attrgetter(field)(config) is not value
    assert config[key] is value
    assert parse_config(config.to_yaml(), "again") == replace(
        config, name="again", stated=set(SLOTS)
    )


def test_every_option_is_read_outside_config() -> None:
    read = names_read(SOURCE)
    unread = []
    for option in OPTIONS:
        *_, group, field = option.field.split(".")
        holders = {"", "options", group}
        if option not in IGNORED_KEYS and not any((holder, field) in read for holder in holders):
            unread.append(option.key)
    assert not unread, "no code reads these options; use or ignore them (config/ignored.py)"


def names_read(source: Path) -> set[tuple[str, str]]:
    """Return (holder, name) of the attributes that are read outside config/.

    The holder of `config.run.seed` is "run", that of a local variable's attribute "", as is that of
    a keyword-only argument, which `**vars(options)` may fill.
    """
    names: set[tuple[str, str]] = set()
    for path in source.rglob("*.py"):
        if path.parent.name == "config":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.arguments):
                names |= {("", argument.arg) for argument in node.kwonlyargs}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                names.add((node.value.attr, node.attr))
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                is_part = node.value.id in ("self", "model", "detector")  # attributes of modules
                names.add((node.value.id if is_part else "", node.attr))
    return names


def test_page_of_options_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8").rstrip("\n") == configuration_page().rstrip("\n"), (
        "run: centernet2 config --reference > docs/configuration.md"
    )


def test_path_of_another_folder_is_no_packaged_config() -> None:
    assert load_config("configs/CenterNet2_R50_1x.yaml") == load_config("CenterNet2_R50_1x")
    with pytest.raises(ConfigError, match=r"no config file 'mine/.*packaged config is 'CenterNet2"):
        load_config("mine/CenterNet2_R50_1x.yaml")


def test_text_in_place_of_a_config_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no config file 'SOLVER:"):
        load_config("SOLVER:\n  BASE_LR: 0.01\n" * 20)
    path = tmp_path / "c.yaml"
    path.write_text(f"_BASE_: {'x' * 400}\n")
    with pytest.raises(ConfigError, match=r"c\.yaml: its _BASE_ is not known: there is no config"):
        load_config(path)


@pytest.mark.parametrize("value", ["9" * 5000, "2024-99-99"])
def test_values_that_yaml_cannot_read_name_the_file(tmp_path: Path, value: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"SOLVER:\n  MAX_ITER: {value}\n")
    with pytest.raises(ConfigError, match=r"c\.yaml has a number or a date that no program can"):
        load_config(path)


@pytest.mark.parametrize(("text", "message"), [
    ("SOLVER:\n  BASE_LR: -1\n", r"SOLVER\.BASE_LR is -1 in .*own\.yaml; it takes"),
    ("_BASE_: below.yaml\n", r"SOLVER\.BASE_LR is 'high' in .*below\.yaml; it takes"),
    ("_BASE_: own.yaml\n", r"own\.yaml: its _BASE_ 'own\.yaml' leads back to this file"),
    ("_BASE_: none.yaml\n", r"own\.yaml: its _BASE_ is not known: .* 'none\.yaml'"),
    ("SOLVER: 3\n", r"'SOLVER' in .*own\.yaml is a group of options, such as SOLVER\."),
])  # fmt: skip
def test_errors_of_config_files_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "below.yaml").write_text("SOLVER:\n  BASE_LR: high\n")
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "own.yaml")


def test_config_files_of_another_encoding_are_named(tmp_path: Path) -> None:
    text = 'DATASETS:\n  TRAIN: ("\u6771\u4eac\u306e\u732b\u3068\u72ac",)\n'
    (tmp_path / "own.yaml").write_bytes(text.encode("shift-jis"))
    with pytest.raises(ConfigError, match=r"own\.yaml, line 2: the text is not UTF-8"):
        load_config(tmp_path / "own.yaml")


@pytest.mark.parametrize("text", [
    "STEPS: !!python/tuple [600, 800]", "STEPS: !!python/tuple\n  - 600\n  - 800",
    "STEPS: [600.0, 8.0e+2]",
])  # fmt: skip
def test_lists_of_other_writers(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"_BASE_: CenterNet2_R18_small.yaml\nSOLVER:\n  {text}\n")
    assert load_config(tmp_path / "c.yaml")["SOLVER.STEPS"] == (600, 800)


def test_base_file_of_windows(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/b.yaml").write_text("SOLVER: {MAX_ITER: 7}\n")
    (tmp_path / "c.yaml").write_text("_BASE_: .\\base\\b.yaml\n")
    assert load_config(tmp_path / "c.yaml")["SOLVER.MAX_ITER"] == 7


@pytest.mark.parametrize("text", ["SOLVER: &x\n  A: *x\n", "DATASETS:\n  TRAIN: &x [a, *x]\n"])
def test_block_inside_of_itself_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml: one of its blocks contains itself"):
        load_config(tmp_path / "c.yaml")
