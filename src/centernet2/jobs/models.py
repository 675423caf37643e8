"""The command `models`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from centernet2.jobs import Flag

if TYPE_CHECKING:
    from rich.console import RenderableType

    from centernet2.zoo.published import ZooModel


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
        Show this one in detail; any config's name or path works too.
    as_json
        Give JSON.
    markdown
        Give the table of the documentation.
    """
    from centernet2.config import load_config
    from centernet2.profiling.costs import measure
    from centernet2.zoo.published import zoo_model, zoo_models
    from centernet2.zoo.table import details_table, model_details, models_markdown, models_table

    if name is None:
        if markdown:
            return models_markdown(zoo_models())
        rows = [
            {**m._asdict(), "cost": m.cost and m.cost._asdict(), "page": m.page}
            for m in zoo_models()
        ]
        return _json(rows) if as_json else models_table(zoo_models())
    model = _of_configuration(name) if _is_unpublished(name) else zoo_model(name)
    config = load_config(model.config)
    details = model_details(model, config, model.cost or measure(config))
    return _json(details) if as_json else details_table(details)


def _is_unpublished(name: str) -> bool:
    from centernet2.config import config_names
    from centernet2.zoo.published import zoo_models

    known = {model.name for model in zoo_models()}
    return name not in known and (name in config_names() or Path(name).is_file())


def _of_configuration(name: str) -> ZooModel:
    """A model of which only the configuration is there."""
    from centernet2.config import load_config
    from centernet2.zoo.published import ZooModel

    data = ", ".join(load_config(name).datasets.train)
    return ZooModel(
        name, name, data, ap=None, fps=None, drive=None, note="not published", cost=None
    )


def _json(value: Any) -> str:
    return json.dumps(value, indent=2)
