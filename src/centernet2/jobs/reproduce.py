"""The command `reproduce`: train again as a card says, and compare."""

from pathlib import Path
from typing import NamedTuple

from centernet2.arguments import checked
from centernet2.jobs import Flag, OptionalData, PathArgument
from centernet2.outputs import writable_folder


class Verdict(NamedTuple):
    """Whether a training run came out the same."""

    is_same: bool
    lines: list[str]  # how it came out, for people


@checked()
def reproduce(
    card: PathArgument,
    *,
    data: OptionalData = None,
    output_dir: PathArgument | None = None,
    resume: Flag = False,
) -> Verdict:
    """Train again as a card says, and say whether the weights came out the same.

    On the same machine with the same versions they are equal to the bit; elsewhere the run is the
    same if its AP is within 0.5. If it is not, the exit code is 1.

    Parameters
    ----------
    card
        card.md of `centernet2 card`, a checkpoint, or the folder of a training run.
    data
        The data, if they are in another place than for the first run.
    output_dir
        Folder for the new run; default: the folder reproduced beside the card.
    resume
        Continue an interrupted reproduction.
    """
    from centernet2 import distributed
    from centernet2.builders.training.earlier_run import require_movable
    from centernet2.builders.training.reproduction import reproduce_run
    from centernet2.builders.training.training_card import read_card

    source = Path(card)
    found = read_card(source)
    folder = source if source.is_dir() else source.parent
    output = writable_folder(Path(output_dir or folder / "reproduced"), "--output-dir")
    if not resume:
        require_movable(output, {"--data": None if data is None else str(data)})
    with distributed.closing_process_group():
        result = reproduce_run(found, output, data=data, resume=resume)
    return Verdict(result.is_same, result.text())
