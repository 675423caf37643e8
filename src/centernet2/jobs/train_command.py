"""The command `train`."""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter

from centernet2.jobs import Flag, Overrides

logger = logging.getLogger(__name__)


@Parameter(name="*")
@dataclass(frozen=True)
class Sources:
    """What a training works on.

    Parameters
    ----------
    data
        Folder or annotation file in any layout (COCO, YOLO, Pascal VOC ...), or the name of a data set.
    data_path
        Folder above a COCO 2017 folder (coco2017/ or coco/).
    output_dir
        Receives checkpoints, config.yaml, metrics.jsonl and the evaluation.
    weights
        File to start from, or zoo:NAME; default: MODEL.WEIGHTS.
    seed
        Seed of all random numbers.
    device
        cuda, npu, xpu, mps or cpu; default: the best there is.
    resume
        Go on from the last checkpoint of the output folder.
    """

    data: Path | None = None
    data_path: Path | None = None
    output_dir: Path | None = None
    weights: str | None = None
    seed: int | None = None
    device: str | None = None
    resume: Flag = False


@Parameter(name="*")
@dataclass(frozen=True)
class Processes:
    """The processes that train together.

    Parameters
    ----------
    num_gpus
        Processes on this machine, one for each accelerator (or on the CPU).
    num_machines
        Machines that take part; start the command on each.
    machine_rank
        Number of this machine, from 0.
    dist_url
        HOST:PORT of machine 0; needed with several machines.
    """

    num_gpus: int = 1
    num_machines: int = 1
    machine_rank: int = 0
    dist_url: str = "auto"


def train(
    *overrides: Overrides,
    config_file: str = "CenterNet2_R50_1x",
    sources: Sources = Sources(),
    processes: Processes = Processes(),
    eval_only: Flag = False,
    auto_scale_lr: Flag = False,
    dry_run: Flag = False,
    val_fraction: float | None = None,
) -> dict[str, float] | list[str]:
    """Train a detector, evaluate it at the end.

    Parameters
    ----------
    config_file
        Path of a configuration, or the name of a packaged one.
    eval_only
        Evaluate MODEL.WEIGHTS (or --weights) and train nothing.
    auto_scale_lr
        Scale the learning rate and the schedule when SOLVER.IMS_PER_BATCH is not the one of the configuration file.
    dry_run
        Check settings, data and weights, take one step, print the plan and keep nothing.
    val_fraction
        Share of the images to evaluate on, where the data have no validation split.
    """
    _launch_if_wanted(processes)
    from centernet2.builders import loading as models
    from centernet2.builders import plan
    from centernet2.config import load_config
    from centernet2.jobs import train as training
    from centernet2.jobs.evaluate import evaluate

    if val_fraction is not None:
        overrides = (*overrides, "DATASETS.VAL_FRACTION", str(val_fraction))
    config = load_config(config_file, overrides)
    if eval_only:
        model = models.build_model(
            config, weights=sources.weights or config.model.weights, device=sources.device
        )
        return evaluate(
            model, data=sources.data, data_path=sources.data_path, output_dir=sources.output_dir
        )
    if auto_scale_lr:
        config, changes = plan.scale_to_batch(config, load_config(config_file))
        logger.info("--auto-scale-lr: %s", "; ".join(changes))
    start = training.dry_run if dry_run else training.train
    return start(config, **vars(sources))


def _launch_if_wanted(processes: Processes) -> None:
    """Starts the processes with the same command, if there are to be several, and ends with their exit code."""
    from centernet2 import launch
    from centernet2.training.callbacks import EXIT_INTERRUPTED

    if launch.is_wanted(num_gpus=processes.num_gpus, num_machines=processes.num_machines):
        code = launch.launch(sys.argv[1:], **vars(processes))
        sys.exit(EXIT_INTERRUPTED if code > launch.SIGNALLED else code)
