"""Keys of the options for training: optimizer, schedule, checkpoints, evaluation."""

import math

from centernet2.config.option import Option
from centernet2.ranges import Accepted, above, at_least, between

MAX_SEED = 2**63 - 1  # generators of PyTorch take seeds of 64 bits

TRAINING_KEYS = (
    # Optimizer.
    Option("SOLVER.OPTIMIZER", "optimizer.optimizer", "ours: SGD or ADAMW"),
    Option(
        "SOLVER.BETAS",
        "optimizer.betas",
        "ours: betas of AdamW",
        accepted=between(0, 1, excluded=(1,), count=2),
    ),
    Option(
        "SOLVER.BACKBONE_MULTIPLIER",
        "optimizer.backbone_multiplier",
        "ours: factor of the learning rate of the backbone",
        accepted=at_least(0),
    ),
    Option(
        "SOLVER.LAYER_DECAY",
        "optimizer.layer_decay",
        "ours: layer-wise decay: ratio of the learning rates of a backbone stage and the next",
        accepted=between(0, 1, excluded=(0,)),
    ),
    Option(
        "SOLVER.BASE_LR",
        "optimizer.base_lr",
        "learning rate after warm-up",
        accepted=at_least(0),
    ),
    Option(
        "SOLVER.MOMENTUM",
        "optimizer.momentum",
        "momentum of SGD",
        accepted=between(0, 1, excluded=(1,)),
    ),
    Option("SOLVER.NESTEROV", "optimizer.nesterov", "use Nesterov momentum"),
    Option(
        "SOLVER.WEIGHT_DECAY",
        "optimizer.weight_decay",
        "weight decay",
        accepted=at_least(0),
    ),
    Option(
        "SOLVER.WEIGHT_DECAY_NORM",
        "optimizer.weight_decay_norm",
        "weight decay of normalization layers",
        accepted=at_least(0),
    ),
    Option(
        "SOLVER.WEIGHT_DECAY_BIAS",
        "optimizer.weight_decay_bias",
        "weight decay of biases; None: WEIGHT_DECAY",
        accepted=at_least(0),
    ),
    Option(
        "SOLVER.BIAS_LR_FACTOR",
        "optimizer.bias_lr_factor",
        "factor of the learning rate of biases",
        accepted=at_least(0),
    ),
    # Learning rate schedule.
    Option(
        "SOLVER.LR_SCHEDULER_NAME",
        "schedule.name",
        "WarmupMultiStepLR, WarmupCosineLR or WarmupStepWithFixedGammaLR",
    ),
    Option(
        "SOLVER.MAX_ITER",
        "schedule.max_iter",
        "length of the schedule in iterations",
        accepted=at_least(1),
    ),
    Option(
        "SOLVER.STEPS",
        "schedule.steps",
        "iterations at which the learning rate is multiplied by GAMMA",
        accepted=at_least(1, ascending=True),
    ),
    Option(
        "SOLVER.GAMMA",
        "schedule.gamma",
        "factor of the learning rate at each step",
        accepted=above(0),
    ),
    Option(
        "SOLVER.NUM_DECAYS",
        "schedule.num_decays",
        "number of steps of WarmupStepWithFixedGammaLR",
        accepted=at_least(0),
    ),
    Option(
        "SOLVER.BASE_LR_END",
        "schedule.base_lr_end",
        "final learning rate of WarmupCosineLR",
        accepted=at_least(0),
    ),
    Option(
        "SOLVER.WARMUP_FACTOR",
        "schedule.warmup_factor",
        "initial fraction of the learning rate",
        accepted=between(0, 1),
    ),
    Option(
        "SOLVER.WARMUP_ITERS",
        "schedule.warmup_iters",
        "iterations of warm-up",
        accepted=at_least(0),
    ),
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
    Option(
        "SOLVER.CLIP_GRADIENTS.CLIP_VALUE",
        "clip.clip_value",
        "maximum value or norm",
        accepted=above(0),
    ),
    Option(
        "SOLVER.CLIP_GRADIENTS.NORM_TYPE",
        "clip.norm_type",
        "order of the norm: 2.0 is L2",
        accepted=above(0, also=math.inf),
    ),
    # Averaged weights.
    Option(
        "SOLVER.EMA.ENABLED",
        "ema.enabled",
        "ours: also evaluate and save an exponential moving average of the weights",
    ),
    Option(
        "SOLVER.EMA.DECAY",
        "ema.decay",
        "ours: decay of the average per iteration",
        accepted=between(0, 1, excluded=(1,)),
    ),
    Option(
        "SOLVER.EMA.WARMUP_ITERS",
        "ema.warmup_iters",
        "ours: time constant, in iterations, of the decay's growth from 0",
        accepted=at_least(0),
    ),
    # Training run.
    Option(
        "OUTPUT_DIR",
        "run.output_dir",
        "output folder; a last part 'auto' is replaced by the name of the config",
    ),
    Option(
        "SEED",
        "run.seed",
        "random seed; negative: choose one, which --resume keeps",
        accepted=Accepted(high=MAX_SEED),
    ),
    Option(
        "SOLVER.IMS_PER_BATCH",
        "run.ims_per_batch",
        "batch size: images per iteration, of all processes together",
        accepted=at_least(1),
    ),
    Option(
        "SOLVER.CHECKPOINT_PERIOD",
        "run.checkpoint_period",
        "iterations between checkpoints",
        accepted=at_least(1),
    ),
    Option(
        "SOLVER.CHECKPOINTS_KEPT",
        "run.checkpoints_kept",
        "ours: number of periodic checkpoints to keep; 0: all",
        accepted=at_least(0),
    ),
    Option(
        "SOLVER.CHECKPOINT_MINUTES",
        "run.checkpoint_minutes",
        "ours: minutes between additional checkpoints; 0: none",
        accepted=at_least(0),
    ),
    Option(
        "SOLVER.TRAIN_ITER",
        "run.train_iter",
        "stop at this iteration of the schedule; -1: MAX_ITER",
        accepted=at_least(-1),
    ),
    Option(
        "SOLVER.MAX_EPOCHS",
        "run.max_epochs",
        "ours: sets MAX_ITER to this many epochs and scales STEPS; 0: use MAX_ITER",
        accepted=at_least(0),
    ),
    Option(
        "SOLVER.MAX_MINUTES",
        "run.max_minutes",
        "ours: wall-clock time of the run with its evaluations; the schedule keeps up with it; "
        "0: unlimited",
        accepted=at_least(0),
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
        accepted=at_least(1),
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
        "SOLVER.KEEP_FREED_MEMORY",
        "run.keep_freed_memory",
        "ours: keep freed memory of CPU tensors for the next step, which is faster and needs more",
    ),
    Option(
        "SOLVER.COMPILE", "run.compile", "ours: compile the backbone and the neck (torch.compile)"
    ),
    Option(
        "TEST.PATIENCE",
        "run.patience",
        "ours: early stopping after this many evaluations without a better AP; 0: never",
        accepted=at_least(0),
    ),
    Option(
        "TEST.EVAL_PERIOD",
        "run.eval_period",
        "iterations between evaluations; 0: only at the end; -1: never",
        accepted=at_least(-1),
    ),
    Option(
        "TEST.EVAL_EPOCHS",
        "run.eval_epochs",
        "ours: sets EVAL_PERIOD to this many epochs; 0: use EVAL_PERIOD",
        accepted=at_least(0),
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
        accepted=at_least(0),
    ),
    Option(
        "SOLVER.LOG_PERIOD",
        "run.log_period",
        "ours: iterations between log lines",
        accepted=at_least(1),
    ),
    Option(
        "TEST.IMS_PER_BATCH",
        "run.test_batch_size",
        "ours: batch size of evaluation, per process",
        accepted=at_least(1),
    ),
)
