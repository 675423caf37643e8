"""The published models, shown."""

import json
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from centernet2.config import config_names, load_config
from centernet2.profiling.costs import measure
from centernet2.zoo.published import ZooModel, zoo_model, zoo_models
from centernet2.zoo.table import details_table, model_details, models_markdown, models_table


def show_models(name: str | None, *, as_json: bool, markdown: bool) -> str | RenderableType:
    """All published models, or in detail one of them or of any configuration, as a table, JSON or Markdown."""
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
    known = {model.name for model in zoo_models()}
    return name not in known and (name in config_names() or Path(name).is_file())


def _of_configuration(name: str) -> ZooModel:
    """A model of which only the configuration is there."""
    data = ", ".join(load_config(name).datasets.train)
    return ZooModel(
        name, name, data, ap=None, fps=None, drive=None, note="not published", cost=None
    )


def _json(value: Any) -> str:
    return json.dumps(value, indent=2)
