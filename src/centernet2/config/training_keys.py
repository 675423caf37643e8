"""Options of a training run: optimizer, schedule, checkpoints, evaluation."""

from centernet2.config.option import Floats, Group, Ints, Names, option


class OptimizerOptions(Group):
    """The optimizer, and what each kind of parameter gets of it."""

    optimizer: str = option("SOLVER.OPTIMIZER", "SGD", "ours: SGD or ADAMW")
    betas: Floats = option("SOLVER.BETAS", (0.9, 0.999), "ours: decay of AdamW's two averages")
    backbone_multiplier: float = option(
        "SOLVER.BACKBONE_MULTIPLIER", 1.0, "ours: factor on the learning rate of the backbone"
    )
    layer_decay: float = option(
        "SOLVER.LAYER_DECAY",
        1.0,
        "ours: each stage of the backbone learns slower by this factor than the one above it",
    )
    base_lr: float = option("SOLVER.BASE_LR", 0.001, "learning rate")
    momentum: float = option("SOLVER.MOMENTUM", 0.9, "momentum")
    nesterov: bool = option("SOLVER.NESTEROV", False, "Nesterov's momentum")
    weight_decay: float = option("SOLVER.WEIGHT_DECAY", 0.0001, "weight decay")
    weight_decay_norm: float | None = option(
        "SOLVER.WEIGHT_DECAY_NORM", 0.0, "weight decay of normalisation layers"
    )
    weight_decay_bias: float | None = option(
        "SOLVER.WEIGHT_DECAY_BIAS", None, "weight decay of biases; None: the same"
    )
    bias_lr_factor: float = option(
        "SOLVER.BIAS_LR_FACTOR", 1.0, "factor on the learning rate of biases"
    )


class ScheduleOptions(Group):
    """Learning rate by iteration."""

    name: str = option(
        "SOLVER.LR_SCHEDULER_NAME",
        "WarmupMultiStepLR",
        "or WarmupCosineLR, WarmupStepWithFixedGammaLR",
    )
    max_iter: int = option("SOLVER.MAX_ITER", 40000, "iterations", at_least=1)
    steps: Ints = option("SOLVER.STEPS", (30000,), "iterations at which the rate drops")
    gamma: float = option("SOLVER.GAMMA", 0.1, "factor of each drop")
    num_decays: int = option("SOLVER.NUM_DECAYS", 3, "drops of WarmupStepWithFixedGammaLR")
    base_lr_end: float = option(
        "SOLVER.BASE_LR_END", 0.0, "learning rate at the end of WarmupCosineLR"
    )
    warmup_factor: float = option("SOLVER.WARMUP_FACTOR", 0.001, "share of the rate at the start")
    warmup_iters: int = option("SOLVER.WARMUP_ITERS", 1000, "iterations until the full rate")
    warmup_method: str = option("SOLVER.WARMUP_METHOD", "linear", "linear or constant")
    rescale_interval: bool = option(
        "SOLVER.RESCALE_INTERVAL", False, "the schedule begins after the warm-up"
    )


class ClipOptions(Group):
    """Gradient clipping."""

    enabled: bool = option("SOLVER.CLIP_GRADIENTS.ENABLED", False, "clip gradients")
    clip_type: str = option(
        "SOLVER.CLIP_GRADIENTS.CLIP_TYPE",
        "value",
        "value: every element; norm: every parameter; full_model (ours): the norm of all gradients together",
    )
    clip_value: float = option("SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 1.0, "greatest value or norm")
    norm_type: float = option("SOLVER.CLIP_GRADIENTS.NORM_TYPE", 2.0, "order of the norm")


class EMAOptions(Group):
    """Averaged weights: evaluated and saved beside the raw ones."""

    enabled: bool = option(
        "SOLVER.EMA.ENABLED", False, "ours: keep an exponential moving average of the weights"
    )
    decay: float = option(
        "SOLVER.EMA.DECAY", 0.9998, "ours: share of the average that each iteration keeps"
    )
    warmup_iters: int = option(
        "SOLVER.EMA.WARMUP_ITERS", 2000, "ours: iterations in which the share grows"
    )


class RunOptions(Group):
    """One training run."""

    output_dir: str = option(
        "OUTPUT_DIR", "./output", "folder of results; 'auto' at its end becomes the name"
    )
    seed: int = option("SEED", -1, "seed of all random numbers; negative: drawn and logged")
    ims_per_batch: int = option(
        "SOLVER.IMS_PER_BATCH", 16, "images per iteration, over all processes", at_least=1
    )
    checkpoint_period: int = option(
        "SOLVER.CHECKPOINT_PERIOD", 5000, "iterations between checkpoints", at_least=1
    )
    checkpoints_kept: int = option(
        "SOLVER.CHECKPOINTS_KEPT", 0, "ours: periodic checkpoints kept; 0 keeps all"
    )
    checkpoint_minutes: float = option(
        "SOLVER.CHECKPOINT_MINUTES",
        0.0,
        "ours: minutes between checkpoints, beside the iterations; 0: iterations only",
    )
    train_iter: int = option(
        "SOLVER.TRAIN_ITER", -1, "stop here, with the schedule of MAX_ITER; -1: MAX_ITER"
    )
    max_epochs: float = option(
        "SOLVER.MAX_EPOCHS",
        0.0,
        "ours: MAX_ITER in passes over the images, STEPS shifted with it; 0: as it is",
    )
    reset_iter: bool = option(
        "SOLVER.RESET_ITER", False, "start at 0 although the weights come from a later iteration"
    )
    amp: bool = option("SOLVER.AMP.ENABLED", False, "mixed precision")
    amp_dtype: str = option("SOLVER.AMP.DTYPE", "bf16", "ours: bf16, or fp16 with scaled losses")
    accumulation_steps: int = option(
        "SOLVER.ACCUMULATION_STEPS",
        1,
        "ours: parts that IMS_PER_BATCH is worked through in, to save memory",
    )
    gradient_checkpointing: bool = option(
        "SOLVER.GRADIENT_CHECKPOINTING",
        False,
        "ours: compute the backbone's maps again in the backward pass",
    )
    sync_bn: bool = option("SOLVER.SYNC_BN", False, "ours: batch statistics over all processes")
    fsdp: bool = option(
        "SOLVER.FSDP",
        False,
        "ours: share weights, gradients and optimizer state out among the processes (FSDP2), to save memory",
    )
    channels_last: bool = option(
        "SOLVER.CHANNELS_LAST",
        False,
        "ours: keep the channels of a pixel together in memory (on the CPU where it can be)",
    )
    compile: bool = option("SOLVER.COMPILE", False, "ours: torch.compile the backbone and the neck")
    patience: int = option(
        "TEST.PATIENCE", 0, "ours: stop after so many evaluations without a better AP; 0: never"
    )
    eval_period: int = option(
        "TEST.EVAL_PERIOD", 0, "iterations between evaluations; 0: at the end only; -1: none"
    )
    eval_epochs: float = option(
        "TEST.EVAL_EPOCHS", 0.0, "ours: EVAL_PERIOD in passes over the images; 0: as it is"
    )
    trackers: Names = option(
        "SOLVER.TRACKERS", (), "ours: wandb, mlflow and others that accelerate knows"
    )
    pictures: int = option(
        "SOLVER.PICTURES",
        4,
        "ours: images of the first batches and of evaluations that are drawn; 0: none",
    )
    log_period: int = option(
        "SOLVER.LOG_PERIOD", 20, "ours: iterations between lines of the log", at_least=1
    )
    test_batch_size: int = option(
        "TEST.IMS_PER_BATCH", 1, "ours: images per batch in evaluation, per process", at_least=1
    )
