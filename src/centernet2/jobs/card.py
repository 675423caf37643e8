"""The command `card`: write the card of a model."""

from pathlib import Path

from centernet2.arguments import checked
from centernet2.jobs import PathArgument, WeightsArgument


@checked()
def card(weights: WeightsArgument, *, output: PathArgument | None = None) -> list[str]:
    """Write the card of a model: data, command, seed, versions, machine and accuracy.

    It writes card.md and, in Chinese, card.zh-CN.md. `centernet2 reproduce` trains again from it.

    Parameters
    ----------
    weights
        One of our checkpoints, or the folder of a training run.
    output
        Folder for the card; default: that of the checkpoint.

    Returns
    -------
    The paths of the files.
    """
    from centernet2.builders.training.reproduction import TOLERANCE
    from centernet2.builders.training.training_card import card_of
    from centernet2.files import write_atomic
    from centernet2.outputs import writable_folder
    from centernet2.report.model_card import CARD_FILES, card_markdown

    source = Path(weights)
    folder = Path(output) if output else source if source.is_dir() else source.parent
    writable_folder(folder, "--output", command="card", files=CARD_FILES.values())
    content = card_of(weights)
    folder.mkdir(parents=True, exist_ok=True)
    for language, name in CARD_FILES.items():
        write_atomic(folder / name, card_markdown(content, language, tolerance=TOLERANCE))
    return [str(folder / name) for name in CARD_FILES.values()]
