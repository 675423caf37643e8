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
        "ours: factor on the learning rate of each backbone stage, from the last stage down",
    ),
    Option("SOLVER.BASE_LR", "optimizer.base_lr", "learning rate"),
    Option("SOLVER.MOMENTUM", "optimizer.momentum", "momentum"),
    Option("SOLVER.NESTEROV", "optimizer.nesterov", "Nesterov's momentum"),
    Option("SOLVER.WEIGHT_DECAY", "optimizer.weight_decay", "weight decay"),
    Option(
        "SOLVER.WEIGHT_DECAY_NORM",
        "optimizer.weight_decay_norm",
        "weight decay of normalization layers",
    ),
    Option(
        "SOLVER.WEIGHT_DECAY_BIAS",
        "optimizer.weight_decay_bias",
        "weight decay of biases; None: WEIGHT_DECAY",
    ),
    Option(
        "SOLVER.BIAS_LR_FACTOR", "optimizer.bias_lr_factor", "factor on the learning rate of biases"
    ),
    # Learning rate by iteration.
    Option(
        "SOLVER.LR_SCHEDULER_NAME",
        "schedule.name",
        "WarmupMultiStepLR, WarmupCosineLR or WarmupStepWithFixedGammaLR",
    ),
    Option("SOLVER.MAX_ITER", "schedule.max_iter", "iterations", at_least=1),
    Option("SOLVER.STEPS", "schedule.steps", "iterations at which the learning rate drops"),
    Option("SOLVER.GAMMA", "schedule.gamma", "factor of each drop"),
    Option("SOLVER.NUM_DECAYS", "schedule.num_decays", "drops of WarmupStepWithFixedGammaLR"),
    Option(
        "SOLVER.BASE_LR_END", "schedule.base_lr_end", "learning rate at the end of WarmupCosineLR"
    ),
    Option(
        "SOLVER.WARMUP_FACTOR",
        "schedule.warmup_factor",
        "fraction of the learning rate at the start",
    ),
    Option(
        "SOLVER.WARMUP_ITERS", "schedule.warmup_iters", "iterations until the full learning rate"
    ),
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
        "value: every element; norm: every parameter; full_model (ours): all parameters together",
    ),
    Option("SOLVER.CLIP_GRADIENTS.CLIP_VALUE", "clip.clip_value", "maximum value or norm"),
    Option("SOLVER.CLIP_GRADIENTS.NORM_TYPE", "clip.norm_type", "order of the norm"),
    # Averaged weights: evaluated and saved beside the raw ones.
    Option(
        "SOLVER.EMA.ENABLED",
        "ema.enabled",
        "ours: keep an exponential moving average of the weights",
    ),
    Option(
        "SOLVER.EMA.DECAY", "ema.decay", "ours: fraction of the average that each iteration keeps"
    ),
    Option(
        "SOLVER.EMA.WARMUP_ITERS", "ema.warmup_iters", "ours: iterations in which the decay grows"
    ),
    # One training run.
    Option(
        "OUTPUT_DIR",
        "run.output_dir",
        "output folder; 'auto' at its end stands for the name of the config",
    ),
    Option(
        "SEED", "run.seed", "seed of all random numbers; negative: a random one, which is logged"
    ),
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
        "ours: minutes between checkpoints, in addition to the iterations; 0: iterations only",
    ),
    Option(
        "SOLVER.TRAIN_ITER",
        "run.train_iter",
        "stop at this iteration of the schedule; -1: MAX_ITER",
    ),
    Option(
        "SOLVER.MAX_EPOCHS",
        "run.max_epochs",
        "ours: MAX_ITER in epochs, STEPS in proportion; 0: MAX_ITER counts",
    ),
    Option("SOLVER.AMP.ENABLED", "run.amp", "mixed precision"),
    Option("SOLVER.AMP.DTYPE", "run.amp_dtype", "ours: bf16, or fp16 with scaled losses"),
    Option(
        "SOLVER.ACCUMULATION_STEPS",
        "run.accumulation_steps",
        "ours: forward and backward passes per step, to save memory",
    ),
    Option(
        "SOLVER.GRADIENT_CHECKPOINTING",
        "run.gradient_checkpointing",
        "ours: recompute the backbone's activations in the backward pass",
    ),
    Option("SOLVER.SYNC_BN", "run.sync_bn", "ours: batch statistics over all processes"),
    Option(
        "SOLVER.FSDP",
        "run.fsdp",
        "ours: shard weights, gradients and optimizer state over the processes (FSDP2)",
    ),
    Option(
        "SOLVER.CHANNELS_LAST",
        "run.channels_last",
        "ours: channels_last memory format",
    ),
    Option("SOLVER.COMPILE", "run.compile", "ours: torch.compile the backbone and the neck"),
    Option(
        "TEST.PATIENCE",
        "run.patience",
        "ours: stop after this many evaluations without a better AP; 0: never",
    ),
    Option(
        "TEST.EVAL_PERIOD",
        "run.eval_period",
        "iterations between evaluations; 0: at the end only; -1: none",
    ),
    Option(
        "TEST.EVAL_EPOCHS",
        "run.eval_epochs",
        "ours: EVAL_PERIOD in epochs; 0: EVAL_PERIOD counts",
    ),
    Option(
        "SOLVER.TRACKERS", "run.trackers", "ours: wandb, mlflow and others that accelerate knows"
    ),
    Option(
        "SOLVER.PICTURES",
        "run.pictures",
        "ours: images of the first batches and of evaluations to draw; 0: none",
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
