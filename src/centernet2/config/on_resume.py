"""What `--resume` does with each option whose value has changed."""

from typing import Literal, NamedTuple

from centernet2.config.keys import OPTIONS
from centernet2.config.option import Option

SECTION_HEADER = """
## Options that differ when a run is resumed

`centernet2 train --resume` obeys a changed option from the next step on, or refuses it.

| `--resume` | what this means | options |
|---|---|---|"""


class OnResume(NamedTuple):
    """What resuming does with some options, and what follows from it."""

    action: Literal["obeys", "refuses", "ignores"]
    reason: str  # of a refusal: ends the sentence "KEY OLD -> NEW: "; else what changes
    fields: tuple[str, ...]  # of Config: groups of options, or single ones, which take precedence


ON_RESUME = (
    OnResume("refuses", "the weights belong to the network that they were trained in",
             ("model", "preprocess", "backbone", "neck", "head", "centernet", "roi_heads",
              "box_stage", "federated", "cascade", "one_stage", "box_head", "box_pooler",
              "mask_head", "mask_pooler")),
    OnResume("refuses", "the number of classes is that of the data and the weights",
             ("head.num_classes", "roi_heads.num_classes", "datasets.kept_classes")),
    OnResume("refuses",
             "only the start of a training run reads it, and the checkpoint holds what came of it",
             ("model.weights", "backbone.timm.pretrained", "head.prior_prob",
              "box_stage.prior_prob", "federated.frequency_exponent", "federated.frequency_file")),
    OnResume("refuses", "the optimizer's state in the checkpoint belongs to the trained layers",
             ("backbone.resnet.freeze_at",)),
    OnResume("refuses", "the state in the checkpoint is that of the other optimizer",
             ("optimizer.optimizer",)),
    OnResume("refuses", "the model would be evaluated on images that it was trained on",
             ("datasets.val_fraction", "datasets.val_seed")),
    OnResume("obeys", "the new values from the next step on; the optimizer's buffers are kept",
             ("optimizer",)),
    OnResume("obeys",
             "the schedule, as if it had been this one from iteration 0; a length that is already "
             "reached ends the run with its evaluation",
             ("schedule", "run.train_iter", "run.max_epochs", "run.max_minutes")),
    OnResume("obeys", "how a step is computed; float16 starts with a new loss scale",
             ("clip", "model.device", "run.amp", "run.amp_dtype", "run.accumulation_steps",
              "run.gradient_checkpointing", "run.sync_bn", "run.fsdp", "run.channels_last",
              "run.keep_freed_memory", "run.compile")),
    OnResume("obeys",
             "averaged weights: switched on, they start from the weights of the checkpoint; "
             "switched off, they are dropped",
             ("ema",)),
    OnResume("obeys", "targets, losses, sampling and selection, in training and inference",
             ("centernet.class_proposals", "assigner", "criterion", "decoder", "sampler",
              "box_stage.box_loss", "box_stage.box_loss_weight", "box_stage.smooth_l1_beta",
              "federated.num_classes", "one_stage.ious", "one_stage.iou_labels", "selection")),
    OnResume("obeys",
             "the data, which must have the classes of the run; step N reads the images of step N "
             "of their new order",
             ("datasets", "loader", "run.ims_per_batch")),
    OnResume("obeys", "sizes and augmentation of the images", ("augmentation",)),
    OnResume("obeys", "the order of the images and all random numbers start anew", ("run.seed",)),
    OnResume("obeys", "evaluation; the best AP so far and the evaluations since then are kept",
             ("test_augmentation", "run.eval_period", "run.eval_epochs", "run.patience",
              "run.test_batch_size")),
    OnResume("obeys", "what is written, and when; OUTPUT_DIR is the folder with the checkpoint",
             ("run.output_dir", "run.checkpoint_period", "run.checkpoints_kept",
              "run.checkpoint_minutes", "run.trackers", "run.pictures", "run.log_period")),
    OnResume("ignores", "no run reads it, which the log says", ("ignored",)),
)  # fmt: skip
ROWS = {field: row for row in ON_RESUME for field in row.fields}


def keys_of(row: OnResume) -> list[str]:
    """Return the keys of the options that a row is about."""
    return [option.key for option in OPTIONS if _row_of(option) is row]


def _row_of(option: Option) -> OnResume:
    """Return the row of an option's field, or else of the innermost group with it."""
    parts = option.field.split(".")
    outward = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next(ROWS[field] for field in outward if field in ROWS)


REFUSED = {key: row.reason for row in ON_RESUME if row.action == "refuses" for key in keys_of(row)}


def resume_section() -> str:
    """Return the section of docs/configuration.md: a row per action and reason."""
    rows = [
        f"| {row.action} | {row.reason} | {', '.join(f'`{key}`' for key in keys_of(row))} |"
        for row in ON_RESUME
    ]
    return "\n".join([SECTION_HEADER, *rows])
