"""Parameters and operations of detectors, for the table of published models.

All of them are counted anew by
`python -m centernet2.builders.detector.model_costs > src/centernet2/zoo/costs.json`.
"""

import json
import sys

from centernet2.builders.detector.network import build_on_meta
from centernet2.config import Config, load_config
from centernet2.profiling.operations import count_operations, full_selections, input_size
from centernet2.zoo import ModelCost, zoo_models


def count_cost(config: Config) -> ModelCost:
    """Count the operations for an image of 480 x 640 pixels, with full selections."""
    plan = build_on_meta(config)
    height, width = input_size(plan)
    proposals, detections = full_selections(plan)
    parameters = sum(parameter.numel() for parameter in plan.parameters())
    operations = count_operations(
        plan, (1, height, width), proposals=proposals, detections=detections
    )
    return ModelCost(parameters, round(sum(operations.values()) / 1e9, 1), height, width)


def published_costs() -> str:
    """Return the costs of all published models as JSON, one model per line."""
    names = sorted({model.config for model in zoo_models()})
    costs = {name: count_cost(load_config(name))._asdict() for name in names}
    rows = (f"{json.dumps(name)}: {json.dumps(cost)}" for name, cost in costs.items())
    return "{\n" + ",\n".join(rows) + "\n}\n"


if __name__ == "__main__":
    sys.stdout.write(published_costs())
