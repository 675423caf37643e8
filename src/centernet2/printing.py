"""Print the results of commands, and exit with the codes that they ask for."""

import sys
from typing import TYPE_CHECKING, Any

from centernet2.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.console import RenderableType

    from centernet2.data.check import Examination
    from centernet2.jobs.compare import Comparison
    from centernet2.jobs.next_images import NextImages
    from centernet2.jobs.pseudo_label import PseudoLabels
    from centernet2.jobs.reproduce import Verdict
    from centernet2.jobs.threshold import Thresholds
    from centernet2.predict.explaining import PointExplanation
    from centernet2.profiling.records import Benchmark

PIPE_WIDTH = 130  # columns of a table in a file or a pipe


def print_metrics(metrics: dict[str, float]) -> None:
    """Print the metrics of an evaluation; exit with code 1 if it has skipped images."""
    from centernet2.evaluation import IMAGES_SKIPPED
    from centernet2.report.tables import metrics_table

    _print(metrics_table(metrics))
    exit_if_skipped(metrics.get(IMAGES_SKIPPED, 0))


def print_training(result: dict[str, float] | list[str]) -> None:
    """Print the metrics of a training run, or the plan of a dry run."""
    if isinstance(result, dict):
        print_metrics(result)
    else:
        print_lines(result)


def print_reproduction(verdict: "Verdict") -> None:
    """Print whether a training run came out the same; exit with code 1 if it did not."""
    print_lines(verdict.lines)
    if not verdict.is_same:
        sys.exit(ExitCode.INCOMPLETE)


def print_comparison(comparison: "Comparison") -> None:
    """Print the metrics of two detectors; exit with code 1 if images were skipped."""
    from centernet2.report.tables import differences_table

    _print(differences_table(comparison.differences, confidence=comparison.confidence))
    exit_if_skipped(comparison.skipped)


def print_thresholds(chosen: "Thresholds") -> None:
    """Print thresholds and calibration errors; exit with 1 if images were skipped."""
    from centernet2.report.tables import calibration_table, thresholds_table

    _print(thresholds_table(chosen.by_class))
    if chosen.errors:
        _print(calibration_table(chosen.errors))
    exit_if_skipped(chosen.skipped)


def print_pseudo_labels(labels: "PseudoLabels") -> None:
    """Print the number of boxes of each class; exit with 1 if images were skipped."""
    from centernet2.report.tables import counts_table

    _print(counts_table(labels.boxes))
    exit_if_skipped(labels.skipped)


def print_next_images(images: "NextImages") -> None:
    """Print each image with its reason; exit with code 1 if images were skipped."""
    print_lines(
        [f"{number}  {path}: {reason}" for number, (path, reason) in enumerate(images.chosen, 1)]
    )
    exit_if_skipped(images.skipped)


def exit_if_skipped(count: float) -> None:
    """Exit with code 1 if inputs were skipped, which the log names."""
    if count:
        sys.exit(ExitCode.INCOMPLETE)


def print_skipped(counts: dict[str, int]) -> None:
    """Exit with code 1 if a prediction has skipped images."""
    exit_if_skipped(counts["skipped"])


def print_explanation(explanation: "PointExplanation") -> None:
    """Print why there is a detection, or none."""
    print_lines(explanation.text())


def print_benchmark(result: "Benchmark") -> None:
    """Print the results of a benchmark, in wide tables."""
    from centernet2.report.benchmark_tables import benchmark_tables

    _print(benchmark_tables(result), wide=True, highlight=False)


def print_findings(examination: "Examination") -> None:
    """Print the problems of a data set; exit with code 2 if there are any."""
    from centernet2.report.dataset_page import findings_table

    _print(findings_table(examination.findings), wide=True)
    if not examination.is_clean:
        sys.exit(ExitCode.REFUSED)


def print_models(shown: "str | RenderableType") -> None:
    """Print the table of models; JSON without formatting."""
    _print(shown, wide=True, markup=False, highlight=False, soft_wrap=isinstance(shown, str))


def print_agreement(agreement: dict[str, Any]) -> None:
    """Print how far an exported file agrees with PyTorch."""
    from centernet2.runtime.verification import describe_agreement

    print(describe_agreement(agreement))


def print_export(certificate: dict[str, Any]) -> None:
    """Print how an exported file agrees with PyTorch, and what its precision costs."""
    print_agreement(certificate)
    if evaluation := certificate.get("evaluation"):
        from centernet2.report.tables import precision_tables

        _print(precision_tables(evaluation["before"], evaluation["after"]))


def print_lines(text: str | list[str]) -> None:
    """Print text without formatting."""
    print(text if isinstance(text, str) else "\n".join(text))


def _print(shown: "RenderableType", *, wide: bool = False, **options: bool) -> None:
    """Print to the terminal; `wide`: with PIPE_WIDTH columns in a file or a pipe."""
    from rich import get_console
    from rich.console import Console

    console = get_console()
    if wide and not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    console.print(shown, **options)  # type: ignore[arg-type]
