"""Keys of the options for training: optimizer, schedule, checkpoints, evaluation."""

from centernet2.config.option import Option

TRAINING_KEYS = (
    # Optimizer.
    Option("SOLVER.OPTIMIZER", "optimizer.optimizer", "ours: SGD or ADAMW"),
    Option("SOLVER.BETAS", "optimizer.betas", "ours: betas of AdamW"),
    Option(
        "SOLVER.BACKBONE_MULTIPLIER",
        "optimizer.backbone_multiplier",
        "ours: factor of the learning rate of the backbone",
    ),
    Option(
        "SOLVER.LAYER_DECAY",
        "optimizer.layer_decay",
        "ours: layer-wise decay: ratio of the learning rates of a backbone stage and the next",
    ),
    Option("SOLVER.BASE_LR", "optimizer.base_lr", "learning rate after warm-up"),
    Option("SOLVER.MOMENTUM", "optimizer.momentum", "momentum of SGD"),
    Option("SOLVER.NESTEROV", "optimizer.nesterov", "use Nesterov momentum"),
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
        "SOLVER.BIAS_LR_FACTOR", "optimizer.bias_lr_factor", "factor of the learning rate of biases"
    ),
    # Learning rate schedule.
    Option(
        "SOLVER.LR_SCHEDULER_NAME",
        "schedule.name",
        "WarmupMultiStepLR, WarmupCosineLR or WarmupStepWithFixedGammaLR",
    ),
    Option(
        "SOLVER.MAX_ITER", "schedule.max_iter", "length of the schedule in iterations", at_least=1
    ),
    Option(
        "SOLVER.STEPS",
        "schedule.steps",
        "iterations at which the learning rate is multiplied by GAMMA",
    ),
    Option("SOLVER.GAMMA", "schedule.gamma", "factor of the learning rate at each step"),
    Option(
        "SOLVER.NUM_DECAYS", "schedule.num_decays", "number of steps of WarmupStepWithFixedGammaLR"
    ),
    Option("SOLVER.BASE_LR_END", "schedule.base_lr_end", "final learning rate of WarmupCosineLR"),
    Option(
        "SOLVER.WARMUP_FACTOR",
        "schedule.warmup_factor",
        "initial fraction of the learning rate",
    ),
    Option("SOLVER.WARMUP_ITERS", "schedule.warmup_iters", "iterations of warm-up"),
    Option("SOLVER.WARMUP_METHOD", "schedule.warmup_method", "warm-up: linear or constant"),
    Option(
        "SOLVER.RESCALE_INTERVAL",
        "schedule.rescale_interval",
        "start the schedule after the warm-up, in the remaining iterations",
    ),
    # Gradient clipping.
    Option("SOLVER.CLIP_GRADIENTS.ENABLED", "clip.enabled", "clip gradients"),
    Option(
        "SOLVER.CLIP_GRADIENTS.CLIP_TYPE",
        "clip.clip_type",
        "value: each element; norm: each gradient; full_model (ours): the norm of all gradients",
    ),
    Option("SOLVER.CLIP_GRADIENTS.CLIP_VALUE", "clip.clip_value", "maximum value or norm"),
    Option("SOLVER.CLIP_GRADIENTS.NORM_TYPE", "clip.norm_type", "order of the norm: 2.0 is L2"),
    # Averaged weights.
    Option(
        "SOLVER.EMA.ENABLED",
        "ema.enabled",
        "ours: also evaluate and save an exponential moving average of the weights",
    ),
    Option("SOLVER.EMA.DECAY", "ema.decay", "ours: decay of the average per iteration"),
    Option(
        "SOLVER.EMA.WARMUP_ITERS",
        "ema.warmup_iters",
        "ours: time constant, in iterations, of the decay's growth from 0",
    ),
    # Training run.
    Option(
        "OUTPUT_DIR",
        "run.output_dir",
        "output folder; a last part 'auto' is replaced by the name of the config",
    ),
    Option("SEED", "run.seed", "random seed; negative: choose one, which --resume keeps"),
    Option(
        "SOLVER.IMS_PER_BATCH",
        "run.ims_per_batch",
        "batch size: images per iteration, of all processes together",
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
        "ours: number of periodic checkpoints to keep; 0: all",
    ),
    Option(
        "SOLVER.CHECKPOINT_MINUTES",
        "run.checkpoint_minutes",
        "ours: minutes between additional checkpoints; 0: none",
    ),
    Option(
        "SOLVER.TRAIN_ITER",
        "run.train_iter",
        "stop at this iteration of the schedule; -1: MAX_ITER",
    ),
    Option(
        "SOLVER.MAX_EPOCHS",
        "run.max_epochs",
        "ours: sets MAX_ITER to this many epochs and scales STEPS; 0: use MAX_ITER",
    ),
    Option("SOLVER.AMP.ENABLED", "run.amp", "automatic mixed precision"),
    Option(
        "SOLVER.AMP.DTYPE",
        "run.amp_dtype",
        "ours: number format of mixed precision: bf16, or fp16 (with loss scaling)",
    ),
    Option(
        "SOLVER.ACCUMULATION_STEPS",
        "run.accumulation_steps",
        "ours: batches whose gradients are accumulated per step, to save memory",
        at_least=1,
    ),
    Option(
        "SOLVER.GRADIENT_CHECKPOINTING",
        "run.gradient_checkpointing",
        "ours: recompute activations in the backward pass, to save memory",
    ),
    Option(
        "SOLVER.SYNC_BN", "run.sync_bn", "ours: synchronize batch normalization over all processes"
    ),
    Option(
        "SOLVER.FSDP",
        "run.fsdp",
        "ours: shard weights, gradients and optimizer state over all processes (FSDP2)",
    ),
    Option(
        "SOLVER.CHANNELS_LAST",
        "run.channels_last",
        "ours: train in the channels_last memory format",
    ),
    Option(
        "SOLVER.COMPILE", "run.compile", "ours: compile the backbone and the neck (torch.compile)"
    ),
    Option(
        "TEST.PATIENCE",
        "run.patience",
        "ours: early stopping after this many evaluations without a better AP; 0: never",
    ),
    Option(
        "TEST.EVAL_PERIOD",
        "run.eval_period",
        "iterations between evaluations; 0: only at the end; -1: never",
    ),
    Option(
        "TEST.EVAL_EPOCHS",
        "run.eval_epochs",
        "ours: sets EVAL_PERIOD to this many epochs; 0: use EVAL_PERIOD",
    ),
    Option(
        "SOLVER.TRACKERS",
        "run.trackers",
        "ours: experiment trackers of accelerate, such as wandb and mlflow",
    ),
    Option(
        "SOLVER.PICTURES",
        "run.pictures",
        "ours: images per picture of training batches and of detections; 0: no pictures",
    ),
    Option(
        "SOLVER.LOG_PERIOD",
        "run.log_period",
        "ours: iterations between log lines",
        at_least=1,
    ),
    Option(
        "TEST.IMS_PER_BATCH",
        "run.test_batch_size",
        "ours: batch size of evaluation, per process",
        at_least=1,
    ),
)
