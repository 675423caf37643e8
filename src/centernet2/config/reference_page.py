"""The page docs/configuration.md, generated from the options."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from centernet2.config.on_resume import resume_section
from centernet2.config.option import SKIPPED_KEYS
from centernet2.config.tree import SLOTS, Slot, groups

PAGE_HEADER = """# Configuration

A config is a YAML file or the name of a packaged one (`centernet2 config` lists them). It may name
a base file as `_BASE_`. Overrides on the command line, `KEY VALUE KEY VALUE ...`, take precedence.
Keys and defaults are those of the reference. Options marked *ours* exist only here, and their
defaults keep the behavior of the reference. An unknown key, a value that the option does not accept
or a key without a value is an error. NaN is never accepted, and infinity only where it is named.

`centernet2 config NAME [KEY VALUE ...]` prints the resolved config; every training run writes it to
`config.yaml` in its output folder.

The last column is the field of `Config` that holds the value, as in `load_config(NAME).run.seed`.

These keys of the reference, and all keys below them, have no meaning here and are skipped:
"""
HEAD = "| key | default | accepts | meaning | field |\n|---|---|---|---|---|"
TITLES = {  # of sections whose groups have one class
    "box_pooler": "Pooling of RoI features for boxes",
    "mask_pooler": "Pooling of RoI features for masks",
}


def configuration_page() -> str:
    """Return the text of docs/configuration.md."""
    skipped = ", ".join(f"`{key}`" for key in SKIPPED_KEYS)
    sections = (section for name, group in groups() for section in _sections(name, group))
    return "\n".join([PAGE_HEADER + skipped + ".", *sections, resume_section()])


def _sections(path: str, group: Any) -> Iterator[str]:
    """Yield the section of a group of options, or one for each of its subgroups."""
    parts = [(f"{path}.{f.name}", getattr(group, f.name)) for f in fields(group)]
    if all(is_dataclass(part) for _, part in parts):
        for name, part in parts:
            yield from _sections(name, part)
        return
    title = TITLES.get(path) or (type(group).__doc__ or "").splitlines()[0].removesuffix(".")
    rows = [_row(slot) for slot in SLOTS.values() if slot.option.field.startswith(f"{path}.")]
    yield "\n".join([f"\n## {title}\n", HEAD, *rows])


def _row(slot: Slot) -> str:
    default = list(slot.default) if isinstance(slot.default, tuple) else slot.default
    meaning = slot.option.meaning.replace("ours:", "*ours*:")
    cells = (
        f"`{slot.option.key}`",
        f"`{default!r}`",
        slot.accepted,
        meaning,
        f"`{slot.option.field}`",
    )
    return f"| {' | '.join(cells)} |"
