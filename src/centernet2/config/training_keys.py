"""Keys of a training run's options: optimizer, schedule, checkpoints, evaluation."""

from centernet2.config.option import Option

TRAINING_KEYS = (
    # The optimizer, and what each kind of parameter gets of it.
    Option("SOLVER.OPTIMIZER", "optimizer.optimizer", "ours: SGD or ADAMW"),
    Option("SOLVER.BETAS", "optimizer.betas", "ours: decay of AdamW's two averages"),
    Option(
        "SOLVER.BACKBONE_MULTIPLIER",
        "optimizer.backbone_multiplier",
        "ours: factor on the learning rate of the backbone",
    ),
    Option(
        "SOLVER.LAYER_DECAY",
        "optimizer.layer_decay",
        "ours: each stage of the backbone learns slower by this factor than the one above it",
    ),
    Option("SOLVER.BASE_LR", "optimizer.base_lr", "learning rate"),
    Option("SOLVER.MOMENTUM", "optimizer.momentum", "momentum"),
    Option("SOLVER.NESTEROV", "optimizer.nesterov", "Nesterov's momentum"),
    Option("SOLVER.WEIGHT_DECAY", "optimizer.weight_decay", "weight decay"),
    Option(
        "SOLVER.WEIGHT_DECAY_NORM",
        "optimizer.weight_decay_norm",
        "weight decay of normalisation layers",
    ),
    Option(
        "SOLVER.WEIGHT_DECAY_BIAS",
        "optimizer.weight_decay_bias",
        "weight decay of biases; None: the same",
    ),
    Option(
        "SOLVER.BIAS_LR_FACTOR", "optimizer.bias_lr_factor", "factor on the learning rate of biases"
    ),
    # Learning rate by iteration.
    Option(
        "SOLVER.LR_SCHEDULER_NAME", "schedule.name", "or WarmupCosineLR, WarmupStepWithFixedGammaLR"
    ),
    Option("SOLVER.MAX_ITER", "schedule.max_iter", "iterations", at_least=1),
    Option("SOLVER.STEPS", "schedule.steps", "iterations at which the rate drops"),
    Option("SOLVER.GAMMA", "schedule.gamma", "factor of each drop"),
    Option("SOLVER.NUM_DECAYS", "schedule.num_decays", "drops of WarmupStepWithFixedGammaLR"),
    Option(
        "SOLVER.BASE_LR_END", "schedule.base_lr_end", "learning rate at the end of WarmupCosineLR"
    ),
    Option("SOLVER.WARMUP_FACTOR", "schedule.warmup_factor", "share of the rate at the start"),
    Option("SOLVER.WARMUP_ITERS", "schedule.warmup_iters", "iterations until the full rate"),
    Option("SOLVER.WARMUP_METHOD", "schedule.warmup_method", "linear or constant"),
    Option(
        "SOLVER.RESCALE_INTERVAL",
        "schedule.rescale_interval",
        "the schedule begins after the warm-up",
    ),
    # Gradient clipping.
    Option("SOLVER.CLIP_GRADIENTS.ENABLED", "clip.enabled", "clip gradients"),
    Option(
        "SOLVER.CLIP_GRADIENTS.CLIP_TYPE",
        "clip.clip_type",
        "value: every element; norm: every parameter; full_model (ours): the norm of all gradients together",
    ),
    Option("SOLVER.CLIP_GRADIENTS.CLIP_VALUE", "clip.clip_value", "greatest value or norm"),
    Option("SOLVER.CLIP_GRADIENTS.NORM_TYPE", "clip.norm_type", "order of the norm"),
    # Averaged weights: evaluated and saved beside the raw ones.
    Option(
        "SOLVER.EMA.ENABLED",
        "ema.enabled",
        "ours: keep an exponential moving average of the weights",
    ),
    Option("SOLVER.EMA.DECAY", "ema.decay", "ours: share of the average that each iteration keeps"),
    Option(
        "SOLVER.EMA.WARMUP_ITERS", "ema.warmup_iters", "ours: iterations in which the share grows"
    ),
    # One training run.
    Option("OUTPUT_DIR", "run.output_dir", "folder of results; 'auto' at its end becomes the name"),
    Option("SEED", "run.seed", "seed of all random numbers; negative: drawn and logged"),
    Option(
        "SOLVER.IMS_PER_BATCH",
        "run.ims_per_batch",
        "images per iteration, over all processes",
        at_least=1,
    ),
    Option(
        "SOLVER.CHECKPOINT_PERIOD",
        "run.checkpoint_period",
        "iterations between checkpoints",
        at_least=1,
    ),
    Option(
        "SOLVER.CHECKPOINTS_KEPT",
        "run.checkpoints_kept",
        "ours: periodic checkpoints kept; 0 keeps all",
    ),
    Option(
        "SOLVER.CHECKPOINT_MINUTES",
        "run.checkpoint_minutes",
        "ours: minutes between checkpoints, beside the iterations; 0: iterations only",
    ),
    Option(
        "SOLVER.TRAIN_ITER",
        "run.train_iter",
        "stop here, with the schedule of MAX_ITER; -1: MAX_ITER",
    ),
    Option(
        "SOLVER.MAX_EPOCHS",
        "run.max_epochs",
        "ours: MAX_ITER in passes over the images, STEPS shifted with it; 0: as it is",
    ),
    Option("SOLVER.AMP.ENABLED", "run.amp", "mixed precision"),
    Option("SOLVER.AMP.DTYPE", "run.amp_dtype", "ours: bf16, or fp16 with scaled losses"),
    Option(
        "SOLVER.ACCUMULATION_STEPS",
        "run.accumulation_steps",
        "ours: parts that IMS_PER_BATCH is worked through in, to save memory",
    ),
    Option(
        "SOLVER.GRADIENT_CHECKPOINTING",
        "run.gradient_checkpointing",
        "ours: compute the backbone's maps again in the backward pass",
    ),
    Option("SOLVER.SYNC_BN", "run.sync_bn", "ours: batch statistics over all processes"),
    Option(
        "SOLVER.FSDP",
        "run.fsdp",
        "ours: share weights, gradients and optimizer state out among the processes (FSDP2), to save memory",
    ),
    Option(
        "SOLVER.CHANNELS_LAST",
        "run.channels_last",
        "ours: keep the channels of a pixel together in memory (on the CPU where it can be)",
    ),
    Option("SOLVER.COMPILE", "run.compile", "ours: torch.compile the backbone and the neck"),
    Option(
        "TEST.PATIENCE",
        "run.patience",
        "ours: stop after so many evaluations without a better AP; 0: never",
    ),
    Option(
        "TEST.EVAL_PERIOD",
        "run.eval_period",
        "iterations between evaluations; 0: at the end only; -1: none",
    ),
    Option(
        "TEST.EVAL_EPOCHS",
        "run.eval_epochs",
        "ours: EVAL_PERIOD in passes over the images; 0: as it is",
    ),
    Option(
        "SOLVER.TRACKERS", "run.trackers", "ours: wandb, mlflow and others that accelerate knows"
    ),
    Option(
        "SOLVER.PICTURES",
        "run.pictures",
        "ours: images of the first batches and of evaluations that are drawn; 0: none",
    ),
    Option(
        "SOLVER.LOG_PERIOD",
        "run.log_period",
        "ours: iterations between lines of the log",
        at_least=1,
    ),
    Option(
        "TEST.IMS_PER_BATCH",
        "run.test_batch_size",
        "ours: images per batch in evaluation, per process",
        at_least=1,
    ),
)
