"""The command `train`."""

import logging
import sys
from pathlib import Path

from centernet2.cli.arguments import Flag, Pairs, print_metrics

logger = logging.getLogger(__name__)


def train(
    *overrides: Pairs,
    config_file: str = "CenterNet2_R50_1x",
    data: Path | None = None,
    data_path: Path | None = None,
    output_dir: Path | None = None,
    weights: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    resume: Flag = False,
    eval_only: Flag = False,
    num_gpus: int = 1,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str = "auto",
    auto_scale_lr: Flag = False,
    dry_run: Flag = False,
    val_fraction: float | None = None,
) -> None:
    """Train a detector, evaluate it at the end.

    Parameters
    ----------
    config_file
        Path of a configuration, or the name of a packaged one.
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
    eval_only
        Evaluate MODEL.WEIGHTS (or --weights) and train nothing.
    num_gpus
        Processes on this machine, one for each accelerator (or on the CPU).
    num_machines
        Machines that take part; start the command on each.
    machine_rank
        Number of this machine, from 0.
    dist_url
        HOST:PORT of machine 0; needed with several machines.
    auto_scale_lr
        Scale the learning rate and the schedule when SOLVER.IMS_PER_BATCH is not the one of the configuration file.
    dry_run
        Check settings, data and weights, take one step, print the plan and keep nothing.
    val_fraction
        Share of the images to evaluate on, where the data have no validation split.
    """
    from centernet2 import launch
    from centernet2.training.callbacks import EXIT_INTERRUPTED

    if launch.is_wanted(num_gpus=num_gpus, num_machines=num_machines):
        code = launch.launch(
            sys.argv[1:],
            num_gpus=num_gpus,
            num_machines=num_machines,
            machine_rank=machine_rank,
            dist_url=dist_url,
        )
        sys.exit(EXIT_INTERRUPTED if code > launch.SIGNALLED else code)
    from rich import get_console

    from centernet2.config import load_config
    from centernet2.run import evaluation, models, plan, training

    if val_fraction is not None:
        overrides = (*overrides, "DATASETS.VAL_FRACTION", str(val_fraction))
    config = load_config(config_file, overrides)
    if eval_only:
        model = models.build_model(config, weights=weights or config.model.weights, device=device)
        print_metrics(evaluation.evaluate(model, data=data, data_path=data_path, output_dir=output_dir))
        return
    if auto_scale_lr:
        config, changes = plan.scale_to_batch(config, load_config(config_file))
        logger.info("--auto-scale-lr: %s", "; ".join(changes))
    start = training.dry_run if dry_run else training.train
    outcome = start(
        config,
        data=data,
        data_path=data_path,
        output_dir=output_dir,
        weights=weights,
        resume=resume,
        seed=seed,
        device=device,
    )
    if isinstance(outcome, dict):
        print_metrics(outcome)
    else:
        get_console().print("\n".join(outcome), markup=False, highlight=False, soft_wrap=True)
