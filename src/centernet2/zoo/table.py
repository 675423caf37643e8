"""Tables of the published models, for a terminal and as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from centernet2.zoo.published import ZOO_PREFIX, ModelCost, ZooModel

MODEL_COLUMNS = ("model", "data", "box AP", "FPS", "parameters", "GFLOPs", "input", "weights")
MODELS_CAPTION = (
    "--weights zoo:NAME downloads a released file. Box AP and FPS (Titan Xp / Titan RTX) as "
    "published by the authors; GFLOPs of convolutions and matrix products, a multiply-add as two, "
    "at its test size for an image of 640 x 480"
)


def models_table(models: Sequence[ZooModel]) -> Table:
    """All models for a terminal, with the state of their weights in the cache."""
    table = Table(
        box=SIMPLE_HEAD, caption=MODELS_CAPTION, caption_justify="left", padding=(0, 1, 0, 0)
    )
    for column in MODEL_COLUMNS:
        table.add_column(column, overflow="fold")
    for model in models:
        table.add_row(*cells_of(model), _state(model))
    return table


def model_details(model: ZooModel, cost: ModelCost, facts: Mapping[str, Any]) -> dict[str, Any]:
    """All facts of one model; `facts` are those of its config."""
    path = model.cached_file
    return {
        "model": model.name,
        "config": model.config,
        "data": model.data,
        "box AP": model.ap,
        "FPS on Titan Xp, Titan RTX": model.fps,
        "parameters": cost.parameters,
        "GFLOPs": cost.gflops,
        "input": [cost.height, cost.width],
        **facts,
        "weights": f"{ZOO_PREFIX}{model.name}" if model.drive else None,
        "page": model.page,
        "file": str(path) if model.drive else None,
        "bytes": path.stat().st_size if path.is_file() else None,
        "note": model.note,
    }


def details_table(details: dict[str, Any]) -> Table:
    """One model for a terminal."""
    table = Table(show_header=False, box=None)
    for name, value in details.items():
        if value not in (None, ""):
            table.add_row(name, _text(value))
    return table


def cells_of(model: ZooModel) -> tuple[str, ...]:
    """Return what is published of a model: all columns but the last one."""
    cost = model.cost
    return (
        model.name,
        model.data,
        "-" if model.ap is None else f"{model.ap:.1f}",
        "-" if model.fps is None else f"{model.fps[0]} / {model.fps[1]}",
        "-" if cost is None else f"{cost.parameters / 1e6:.1f} M",
        "-" if cost is None else f"{cost.gflops:.0f}",
        "-" if cost is None else f"{cost.width} x {cost.height}",
    )


def _state(model: ZooModel) -> str:
    """Describe the weights; their size, which is not published, once they are cached."""
    if model.drive is None:
        return "not released"
    path = model.cached_file
    return f"{path.stat().st_size / 1e6:.0f} MB here" if path.is_file() else "released"


def _text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
