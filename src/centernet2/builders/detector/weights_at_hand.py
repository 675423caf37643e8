"""Weights that a user may have meant: last training runs and published models."""

from pathlib import Path

from centernet2.zoo import ZOO_PREFIX, zoo_models

FOLDERS = (".", "runs", "output", "*/runs")  # patterns of the folders that hold training runs
CHECKPOINTS = "model_*.pth"
SHOWN_RUNS, SHOWN_MODELS = 3, 4


def describe_weights_at_hand(folder: Path) -> str:
    """Name the last training runs near a folder, and published models."""
    runs = ", ".join(map(str, _last_runs(folder)))
    models = [f"{ZOO_PREFIX}{model.name}" for model in zoo_models() if model.drive]
    published = ", ".join(models[:SHOWN_MODELS])
    start = f"the last training runs here: {runs}; " if runs else ""
    return f"{start}published models: {published} ... (centernet2 models lists all)"


def _last_runs(folder: Path) -> list[Path]:
    """Return the folders with checkpoints, the newest first."""
    times: dict[Path, float] = {}
    for pattern in FOLDERS:
        for path in folder.glob(f"{pattern}/*/{CHECKPOINTS}"):
            times[path.parent] = max(path.stat().st_mtime, times.get(path.parent, 0.0))
    newest = sorted(times, key=lambda run: times[run], reverse=True)
    return [run.relative_to(folder) for run in newest[:SHOWN_RUNS]]
