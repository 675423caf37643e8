"""Options of a training run: length, precision, checkpoints, evaluation."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RunOptions:
    """Training run."""

    output_dir: str = "./output"
    seed: int = -1
    ims_per_batch: int = 16
    checkpoint_period: int = 5000
    checkpoints_kept: int = 0
    checkpoint_minutes: float = 0.0
    train_iter: int = -1
    max_epochs: float = 0.0
    max_minutes: float = 0.0
    amp: bool = False
    amp_dtype: str = "bf16"
    accumulation_steps: int = 1
    gradient_checkpointing: bool = False
    sync_bn: bool = False
    fsdp: bool = False
    channels_last: bool = False
    keep_freed_memory: bool = False
    compile: bool = False
    patience: int = 0
    eval_period: int = 0
    eval_epochs: float = 0.0
    trackers: tuple[str, ...] = ()
    pictures: int = 4
    log_period: int = 20
    test_batch_size: int = 1
