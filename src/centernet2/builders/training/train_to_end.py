"""Take a training run to its end: steps, checkpoints, evaluations, final weights."""

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

from centernet2 import distributed
from centernet2.builders.evaluation.evaluator import evaluate_predictions
from centernet2.builders.training.train_command import REPORT_FOLDER
from centernet2.builders.training.training_run import TrainingRun
from centernet2.checkpoint.checkpoint import FINAL_FILE
from centernet2.exit_codes import TrainedWithoutEvaluation, TrainingInterrupted
from centernet2.outputs import only_run_in
from centernet2.threads import ThreadsByLoad
from centernet2.training.callbacks import (
    EXPECTED_ERRORS,
    PeriodicCheckpoint,
    PeriodicEvaluation,
    StopOnSignal,
)
from centernet2.training.nonfinite import NonFiniteGuard
from centernet2.training.slow_steps import SlowSteps
from centernet2.training.step import Callback
from centernet2.training.writers import MetricsLogger, ProgressBar

logger = logging.getLogger(__name__)

NONFINITE_LIMIT = 20  # consecutive skipped steps that end a training run


def run_to_end(run: TrainingRun) -> dict[str, float]:
    """Train to the end, and return the last metrics."""
    for line in run.plan():
        logger.info("%s", line)
    run.try_evaluation()
    with ExitStack() as stack:
        with distributed.failing_together():
            if distributed.is_main_process():
                stack.enter_context(only_run_in(run.state.output, "training", "--output-dir"))
        run.prepare_folder()
        metrics = _finish(run, _train(run))
        if run.command.reasons and metrics:
            _report(run)
    return metrics


def _train(run: TrainingRun) -> PeriodicEvaluation:
    """Train with all callbacks; return that of the evaluations."""
    state, options, last = run.state, run.config.run, run.max_iteration
    start, period, output = state.iteration, options.log_period, state.output
    stop = StopOnSignal(period=period)
    checkpoint = PeriodicCheckpoint(
        state.save,
        period=options.checkpoint_period,
        minutes=options.checkpoint_minutes,
        agree_period=period,
        keep=options.checkpoints_kept,
    )
    evaluate = partial(run.evaluate, lambda: stop.received)
    # with a chosen seed, a run can be repeated: sums depend on the number of threads
    threads = ThreadsByLoad(is_on=run.command.config.run.seed < 0)
    with (
        run.open_writers() as writers,
        stop,
        ProgressBar(start_iteration=start, max_iteration=last) as bar,
    ):
        evaluation = PeriodicEvaluation(
            evaluate,
            writers=writers,
            period=options.eval_period,
            review=partial(_review, run, checkpoint),
        )
        callbacks: list[Callback] = [
            stop,
            *([] if state.budget is None else [state.budget]),
            *([] if state.average is None else [state.average]),
            MetricsLogger([*writers, bar], period=period, device=run.accelerator.device),
            bar,
            SlowSteps(),
            lambda _: threads.update(),
            NonFiniteGuard(
                output / "nonfinite.jsonl",
                limit=NONFINITE_LIMIT,
                period=period,
                with_scaler=run.precision == "fp16",
            ),
            checkpoint,  # before the evaluation, which may fail
            lambda _: _save_if_done(run),
            evaluation,
        ]
        _save_if_done(run)  # a resumed run may have no steps left
        if not _catch_up(run, evaluation):
            run.loop(run.batches(drawn=True), callbacks, max_iteration=last)
        # A resumed run may have had no evaluation left either.
        has_evaluated = evaluation.results or evaluation.failure
        if not has_evaluated and options.eval_period >= 0 and not stop.agree():
            evaluation.repeat(state.iteration)
        if stop.agree():
            if checkpoint.saved_iteration != state.iteration:  # the signal came in an evaluation
                checkpoint.save_now(state.iteration)
            raise TrainingInterrupted(
                f"training was interrupted; --resume continues from the last checkpoint in {output}"
            )
    return evaluation


def _report(run: TrainingRun) -> None:
    """Write the page of the error analysis; the run has succeeded without it, too."""
    if not distributed.is_main_process():
        return
    command, output = run.command, run.state.output
    try:
        evaluate_predictions(
            output / "eval", data=command.data, data_path=command.data_path, config=run.config,
            report=output / REPORT_FOLDER,
        )  # fmt: skip
    except EXPECTED_ERRORS as error:
        logger.error(
            "the report is not written (%s): repeat it by `centernet2 eval --predictions %s "
            "--report %s`", error, output, output / REPORT_FOLDER,
        )  # fmt: skip


def _finish(run: TrainingRun, evaluation: PeriodicEvaluation) -> dict[str, float]:
    """Write model_final.pth with the last metrics, and return these."""
    state, path = run.state, run.state.output / FINAL_FILE
    is_saved = state.iteration >= run.max_iteration  # by `_save_if_done`
    if evaluation.failure is not None:
        if not is_saved:
            state.save_final({})
        raise TrainedWithoutEvaluation(path, evaluation.failure)
    try:
        if evaluation.results or not is_saved:
            state.save_final(evaluation.results)
    except EXPECTED_ERRORS as error:  # on all processes
        if not is_saved:
            raise
        raise TrainedWithoutEvaluation(path, error) from error
    logger.info("training is done: %s and all other results are in %s", path.name, path.parent)
    return evaluation.results


def _save_if_done(run: TrainingRun) -> None:
    """Write model_final.pth after the last step, before the evaluation.

    A file that already has these weights keeps its metrics: a resumed run may have no steps left.
    """
    if run.state.iteration >= run.max_iteration:
        run.state.save_final({}, keep_equal=True)


def _catch_up(run: TrainingRun, evaluation: PeriodicEvaluation) -> bool:
    """Evaluate if a resumed run has yet to; return whether its training has ended."""
    start, best = run.state.iteration, run.state.best
    if best.is_out_of_patience:
        logger.info(
            "training stopped early at iteration %d; a larger TEST.PATIENCE continues it", start
        )
        return True
    # It may have been interrupted before or during the evaluation of its last step.
    pending = start > best.iteration and evaluation.is_due(start, run.max_iteration)
    return pending and evaluation.run(start)


def _review(
    run: TrainingRun, checkpoint: PeriodicCheckpoint, iteration: int, metrics: Mapping[str, float]
) -> bool:
    """Save the result of an evaluation; return whether training should stop."""

    def save() -> bool:
        stops = run.keep_if_best(iteration, metrics)
        if stops or checkpoint.saved_iteration == iteration:
            checkpoint.save_now(iteration)  # with the updated best result
        run.draw_detections(iteration)  # last: it may fail
        return stops

    return run.measured("review", save)
