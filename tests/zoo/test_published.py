"""The table of published models: complete, up to date, shown in every form."""

import json
from pathlib import Path

import pytest

from centernet2.builders.detector.model_costs import count_cost
from centernet2.builders.detector.network import build_detector
from centernet2.checkpoint.names import IGNORED, to_reference
from centernet2.cli import app
from centernet2.config import config_names, load_config
from centernet2.jobs.models import models
from centernet2.zoo.published import ZooError, zoo_model, zoo_models
from docs.model_zoo import models_markdown

OURS = {"CenterNet2_R18_small", *(f"CenterNet2_Lite_{size}" for size in "NSM")}
QUICK = {"CenterNet2_R50_1x", "CenterNet-S4_DLA_8x", "nuImages_CenterNet2_DLA_640_8x"}
CONFIGS = sorted({model.config for model in zoo_models()})


def test_table_holds_every_reference_config() -> None:
    assert len(CONFIGS) == 17
    assert set(CONFIGS) <= set(config_names())
    assert {name for name in config_names() if "CenterNet" in name} - set(CONFIGS) <= OURS
    files = [model.drive for model in zoo_models() if model.drive]
    assert len(files) == len(set(files)) == 13
    assert all(model.note for model in zoo_models() if model.drive is None)


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS],
)
def test_stored_costs_equal_measured_costs(name: str) -> None:
    stored = next(model.cost for model in zoo_models() if model.config == name)
    assert count_cost(load_config(name)) == stored, (
        "run: python -m centernet2.builders.detector.model_costs > src/centernet2/zoo/costs.json"
    )


def test_model_zoo_page_is_up_to_date() -> None:
    page = (Path(__file__).parents[2] / "docs" / "model-zoo.md").read_text(encoding="utf-8")
    assert models_markdown() in page, "put the output of `python -m docs.model_zoo` into the page"


@pytest.mark.parametrize("model", zoo_models(), ids=lambda model: model.name)
def test_class_names_match_number_of_classes(model: object) -> None:
    assert isinstance(model, tuple)
    published = zoo_model(model[0])
    config = load_config(published.config)
    one_stage = config.model.meta_architecture == "CenterNetDetector"
    expected = config.head.num_classes if one_stage else config.roi_heads.num_classes
    assert len(published.class_names) == len(set(published.class_names)) == expected


def test_unknown_name_suggests_a_near_one() -> None:
    assert zoo_model("zoo:CenterNet2_R50_1x").ap == 42.9
    with pytest.raises(ZooError, match="did you mean 'CenterNet2_R50_1x'"):
        zoo_model("zoo:CenterNet2_R50")


def test_table_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(str(models(as_json=True)))
    assert [row["name"] for row in rows] == [model.name for model in zoo_models()]
    details = json.loads(str(models("CenterNet2_X101-DCN_2x", as_json=True)))
    assert (details["box AP"], details["data"]) == (49.9, "COCO")
    ours = json.loads(str(models("CenterNet2_R18_small", as_json=True)))
    assert ours["parameters"] > 1e6 and ours["weights"] is None
    app(["models"], exit_on_error=False, result_action="return_value")
    shown = capsys.readouterr().out
    assert all(model.name in shown for model in zoo_models())


@pytest.mark.parametrize("name", CONFIGS)
def test_parameter_names_equal_the_reference(name: str, shared: Path) -> None:
    import torch

    with torch.device("meta"):
        state = build_detector(load_config(name)).state_dict()
    golden = json.loads((shared / "golden" / "state_dicts" / f"{name}.json").read_text())
    ours = {
        key: list(tensor.shape)
        for key, tensor in to_reference(state).items()
        if not IGNORED.search(key)
    }
    assert ours == {key: shape for key, shape in golden.items() if not IGNORED.search(key)}
