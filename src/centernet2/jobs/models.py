"""The command `models`.

`python -m centernet2.jobs.models > src/centernet2/zoo/costs.json` counts the costs of all again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from centernet2.jobs import Flag

if TYPE_CHECKING:
    from rich.console import RenderableType

    from centernet2.config import Config
    from centernet2.zoo import ModelCost, ZooModel


def models(
    name: str | None = None,
    *,
    as_json: Annotated[Flag, Parameter(name="--json")] = False,
    markdown: Flag = False,
) -> str | RenderableType:
    """List the published models: accuracy, speed, size; --weights zoo:NAME uses one.

    Parameters
    ----------
    name
        Show this model in detail; the name or path of any config works too.
    as_json
        Print JSON.
    markdown
        Print the table of the documentation.
    """
    from centernet2.config import load_config
    from centernet2.zoo import zoo_model, zoo_models
    from centernet2.zoo.table import details_table, model_details, models_markdown, models_table

    if name is None:
        if markdown:
            return models_markdown(zoo_models())
        rows = [
            {**m._asdict(), "cost": m.cost and m.cost._asdict(), "page": m.page}
            for m in zoo_models()
        ]
        return _json(rows) if as_json else models_table(zoo_models())
    model = _without_weights(name) if _is_unpublished(name) else zoo_model(name)
    config = load_config(model.config)
    details = model_details(model, model.cost or measure_cost(config), _facts(config))
    return _json(details) if as_json else details_table(details)


def _is_unpublished(name: str) -> bool:
    from centernet2.config import config_names
    from centernet2.zoo import zoo_models

    known = {model.name for model in zoo_models()}
    return name not in known and (name in config_names() or Path(name).is_file())


def _without_weights(name: str) -> ZooModel:
    """Describe a config that has no published weights."""
    from centernet2.config import load_config
    from centernet2.zoo import ZooModel

    data = ", ".join(load_config(name).datasets.train)
    return ZooModel(
        name, name, data, ap=None, fps=None, drive=None, note="not published", cost=None
    )


def _facts(config: Config) -> dict[str, Any]:
    one_stage = config["MODEL.META_ARCHITECTURE"] == "CenterNetDetector"
    iterations, images = config["SOLVER.MAX_ITER"], config["SOLVER.IMS_PER_BATCH"]
    return {
        "backbone and neck": config["MODEL.BACKBONE.NAME"],
        "stages": 1 if one_stage else 2,
        "masks": config["MODEL.MASK_ON"],
        "training": f"{iterations} iterations of {images} images",
    }


def measure_cost(config: Config) -> ModelCost:
    """Count the operations in an image of 480 x 640 pixels, with full selections."""
    from centernet2.builders.loading import build_on_meta
    from centernet2.profiling.operations import count_operations, full_selections, input_size
    from centernet2.zoo import ModelCost

    plan = build_on_meta(config)
    height, width = input_size(plan)
    proposals, detections = full_selections(plan)
    parameters = sum(parameter.numel() for parameter in plan.parameters())
    operations = count_operations(
        plan, (1, height, width), proposals=proposals, detections=detections
    )
    return ModelCost(parameters, round(sum(operations.values()) / 1e9, 1), height, width)


def _published_costs() -> str:
    """Write the costs of all published models as JSON, one per line."""
    from centernet2.config import load_config
    from centernet2.zoo import zoo_models

    names = sorted({model.config for model in zoo_models()})
    costs = {name: measure_cost(load_config(name))._asdict() for name in names}
    rows = (f"{json.dumps(name)}: {json.dumps(cost)}" for name, cost in costs.items())
    return "{\n" + ",\n".join(rows) + "\n}\n"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2)


if __name__ == "__main__":
    sys.stdout.write(_published_costs())
