"""A training run: its parts, and the operations that need several of them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from accelerate import Accelerator
from torch import Tensor, nn

from centernet2 import distributed
from centernet2.builders.data.data_pipeline import build_train_batches
from centernet2.builders.detector.network import build_augmented
from centernet2.builders.evaluation.evaluator import evaluate_dataset
from centernet2.builders.training.batch_statistics import explain_single_values
from centernet2.builders.training.config_completion import describe_plan
from centernet2.builders.training.earlier_run import set_aside_earlier_run
from centernet2.builders.training.solver import build_clip
from centernet2.builders.training.train_command import TrainCommand
from centernet2.checkpoint.checkpoint import set_aside_checkpoints
from centernet2.config import Config, ConfigError, add_keys
from centernet2.data import DetectionDataset
from centernet2.devices import Precision
from centernet2.evaluation import EvaluationInterrupted
from centernet2.files import remove_temporary, write_atomic
from centernet2.models.detector import Detector
from centernet2.predict.predictor import Predictor
from centernet2.report.training_pictures import SHOWN_SCORE, draw_predictions, drawn_batches
from centernet2.structures import Batch, Detections
from centernet2.training.loop import StepOptions, train_loop
from centernet2.training.run_state import RunState
from centernet2.training.step import Callback
from centernet2.training.writers import Writer, open_writers

TRIED_IMAGES = 16  # of the validation set, whose evaluation is timed before the training
MIN_SHARE = 0.3  # of the time of a run that is left for its steps

Result = TypeVar("Result")


@dataclass(frozen=True)
class TrainingRun:
    """All parts of a training run."""

    command: TrainCommand  # which --resume repeats
    config: Config
    train_set: DetectionDataset
    val_set: DetectionDataset
    accelerator: Accelerator
    model: Detector
    prepared: nn.Module  # the model, wrapped or sharded for training
    precision: Precision
    state: RunState  # the state that checkpoints hold

    def __post_init__(self) -> None:
        """Build what later steps need, to refuse a wrong option before writing anything."""
        self.batches(drawn=False)
        build_clip(self.config)
        if self.config.test_augmentation.enabled:
            build_augmented(self.config, self.model)

    @property
    def max_iteration(self) -> int:
        """Number of steps of the whole run; a time budget may end it earlier."""
        schedule, options, budget = self.config.schedule, self.config.run, self.state.budget
        if budget is not None and budget.is_over:
            return self.state.iteration
        return schedule.max_iter if options.train_iter < 0 else options.train_iter

    def plan(self) -> list[str]:
        """Describe the training run."""
        sets = self.train_set, self.val_set
        lines = describe_plan(self.config, self.model, *sets, last=self.max_iteration)
        return [*self.command.reasons, *lines]

    def prepare_folder(self) -> None:
        """Prepare the output folder, on the main process."""
        if distributed.is_main_process():
            output = self.state.output
            output.mkdir(parents=True, exist_ok=True)
            remove_temporary(output, "*.pth.*")  # of a process that was killed while saving
            if self.state.iteration == 0:
                set_aside_earlier_run(output)
            set_aside_checkpoints(output, after=self.state.iteration)
            self.command.write(output)  # first: it tells that the other files are of a run
            write_atomic(output / "config.yaml", self.config.to_yaml())

    @contextmanager
    def open_writers(self) -> Iterator[list[Writer]]:
        """Open the writers of metrics: log, files and trackers; the context closes them."""
        writers = open_writers(
            self.state.output,
            start_iteration=self.state.iteration,
            trackers=self.config.run.trackers,
            config=self.config.to_dict(),
        )
        with ExitStack() as stack:
            with add_keys("run"):  # around the opening alone, not around the training
                opened = stack.enter_context(writers)
            yield opened

    def batches(self, *, drawn: bool) -> Iterator[Batch]:
        """Yield the batches of this process from the next step; draw the first if `drawn`."""
        start = self.state.iteration
        batches = build_train_batches(self.config, self.train_set, start=start)
        if not (drawn and self._draws_pictures()):
            return batches
        return drawn_batches(
            batches,
            self._pictures_folder(),
            class_names=self.train_set.class_names,
            start=start,
            count=self.config.run.pictures,
        )

    @explain_single_values()
    def loop(
        self, batches: Iterator[Batch], callbacks: Sequence[Callback], *, max_iteration: int
    ) -> None:
        """Train from the current iteration to `max_iteration`."""
        train_loop(
            self.prepared,
            self.state.optimizer,
            self.state.schedule,
            batches,
            accelerator=self.accelerator,
            scaler=self.state.scaler,
            options=StepOptions(
                precision=self.precision,
                accumulation_steps=self.config.run.accumulation_steps,
                clip=build_clip(self.config),
            ),
            start_iteration=self.state.iteration,
            max_iteration=max_iteration,
            callbacks=callbacks,
        )

    def evaluate(self, interrupted: Callable[[], bool]) -> dict[str, float] | None:
        """Evaluate on the validation set; None if `interrupted` ended the evaluation."""
        evaluate_into = partial(
            evaluate_dataset, self.model, self.val_set, self.config, interrupted=interrupted
        )
        try:
            return self.measured("evaluation", lambda: self.state.evaluate(evaluate_into))
        except EvaluationInterrupted:
            return None

    def measured(self, part: str, work: Callable[[], Result], *, share: float = 1.0) -> Result:
        """Do a share of a part of the final work, for which the budget reserves time."""
        budget = self.state.budget
        return work() if budget is None else budget.measure(part, work, share=share)

    def try_evaluation(self) -> None:
        """Evaluate a few validation images, so that the budget knows how long it takes.

        Raises:
            ConfigError: the start and one evaluation take most of the time of a new run.
        """
        budget, count = self.state.budget, min(TRIED_IMAGES, len(self.val_set))
        if budget is None or budget.is_over or self.config.run.eval_period < 0:
            return
        few = self.val_set.subset(np.linspace(0, len(self.val_set) - 1, count).astype(int))
        share = count / len(self.val_set) / (1 if self.state.average is None else 2)
        with self.state.whole_model():
            self.measured(
                "evaluation",
                lambda: evaluate_dataset(self.model, few, self.config, None),
                share=share,
            )
        if self.state.iteration == 0 and budget.left < MIN_SHARE * budget.seconds:
            minutes = (budget.reserve + budget.spent) / (1 - MIN_SHARE) / 60
            raise ConfigError(
                f"{self.config.run.max_minutes:g} minutes (SOLVER.MAX_MINUTES) are too few: the "
                f"start and an evaluation of {len(self.val_set)} images take "
                f"{(budget.reserve + budget.spent) / 60:.1f} of them; give {math.ceil(minutes)} "
                "minutes or more, or TEST.EVAL_PERIOD -1, which leaves the evaluation out"
            )

    def keep_if_best(self, iteration: int, metrics: Mapping[str, float]) -> bool:
        """Save the best weights; return whether training should stop.

        model_best.pth is written only in training runs with several evaluations.
        """
        best = self.state.best.update(iteration, metrics)
        if best is not None and self.config.run.eval_period > 0:
            self.state.save_best(best, metrics)
        return self.state.best.is_out_of_patience

    def draw_detections(self, iteration: int) -> None:
        """Draw detections in validation images, if wanted; call it on every process."""
        if self.config.run.pictures <= 0:
            return
        predictor = Predictor(self.model)

        def detect(image: Tensor) -> Detections:
            return predictor(image, score_threshold=SHOWN_SCORE).to_detections()

        with self.state.whole_model(), distributed.failing_together():
            if distributed.is_main_process():
                draw_predictions(
                    detect,
                    self.val_set,
                    self._pictures_folder(),
                    class_names=self.model.info.class_names,
                    iteration=iteration,
                    count=self.config.run.pictures,
                )

    def _draws_pictures(self) -> bool:
        return self.config.run.pictures > 0 and distributed.is_main_process()

    def _pictures_folder(self) -> Path:
        return self.state.output / "pictures"
