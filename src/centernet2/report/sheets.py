"""Numbered sheets: pictures with captions, in grids of some dozens."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from PIL import Image

from centernet2.outputs import is_own_picture
from centernet2.pictures import save_picture
from centernet2.structures import Pixels
from centernet2.visualize import picture_grid

PER_SHEET, COLUMNS = 40, 5
CELL = 320  # pixels, the longer side of a picture
MOST_PICTURES = 1000  # in all sheets


def write_sheets(pictures: Iterable[tuple[Pixels, str]], folder: Path, name: str) -> list[Path]:
    """Write NAME_1.jpg, NAME_2.jpg ... with captioned pictures; return the paths.

    Captions are numbered from 1, and only the first MOST_PICTURES are drawn. Sheets of an earlier
    command are removed.
    """
    for earlier in filter(is_own_picture, folder.glob(f"{name}_*.jpg")):
        earlier.unlink()
    paths: list[Path] = []
    first = islice(pictures, MOST_PICTURES)
    numbered = ((picture, f"{n}: {text}") for n, (picture, text) in enumerate(first, start=1))
    while shown := list(islice(numbered, PER_SHEET)):
        images, captions = zip(*shown, strict=True)
        grid = picture_grid(images, captions, columns=COLUMNS, cell=CELL)
        paths.append(folder / f"{name}_{len(paths) + 1}.jpg")
        save_picture(Image.fromarray(grid), paths[-1])
    return paths
