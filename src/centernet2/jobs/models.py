"""The command `models`: list the published models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from centernet2.arguments import checked
from centernet2.jobs import Flag

if TYPE_CHECKING:
    from rich.console import RenderableType

    from centernet2.config import Config
    from centernet2.zoo import ZooModel


@checked()
def models(
    name: str | None = None,
    *,
    as_json: Annotated[Flag, Parameter(name="--json")] = False,
) -> str | RenderableType:
    """List the published models: accuracy, speed, size.

    Other commands load one with --weights zoo:NAME.

    Parameters
    ----------
    name
        A published model, or the name or path of any config, to show in detail.
    as_json
        Print JSON.
    """
    from centernet2.config import load_config
    from centernet2.zoo import zoo_model, zoo_models
    from centernet2.zoo.table import details_table, model_details, models_table

    if name is None:
        rows = [
            {**m._asdict(), "cost": m.cost and m.cost._asdict(), "page": m.page}
            for m in zoo_models()
        ]
        return _json(rows) if as_json else models_table(zoo_models())
    from centernet2.builders.detector.model_costs import count_cost

    model = _without_weights(name) if _is_unpublished(name) else zoo_model(name)
    config = load_config(model.config)
    details = model_details(model, model.cost or count_cost(config), _facts(config))
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
    from centernet2.builders.detector.network import is_one_stage

    iterations, images = config["SOLVER.MAX_ITER"], config["SOLVER.IMS_PER_BATCH"]
    return {
        "backbone and neck": config["MODEL.BACKBONE.NAME"],
        "stages": 1 if is_one_stage(config) else 2,
        "masks": config["MODEL.MASK_ON"],
        "training": f"{iterations} iterations of {images} images",
    }


def _json(value: Any) -> str:
    import json

    return json.dumps(value, indent=2)
