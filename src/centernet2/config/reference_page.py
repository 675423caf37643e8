"""Every option in words, as a page of Markdown."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from centernet2.config.option import SKIPPED_KEYS
from centernet2.config.tree import SLOTS, Slot, groups

HEADER = """# Configuration

A configuration is a YAML file, or the name of a packaged one (`centernet2 config` lists them). It
may name a base file as `_BASE_`; options on the command line, `KEY VALUE KEY VALUE ...`, come last
and win. Keys and defaults are the reference's; those marked *ours* exist here only, and their
defaults change nothing. An unknown key, a wrong type or a key without a value is refused with one
sentence.

`centernet2 config NAME [KEY VALUE ...]` prints the resolved configuration; every training run
writes it to `config.yaml` in its output folder.

The last column is the field of `Config` that holds the value: `load_config(NAME).run.seed`.

Keys of the reference that mean nothing here are skipped, with everything below them:
"""
HEAD = "| key | default | meaning | field |"


def configuration_page() -> str:
    """Return the page docs/configuration.md."""
    skipped = ", ".join(f"`{key}`" for key in SKIPPED_KEYS)
    sections = (section for name, group in groups() for section in _sections(name, group))
    return "\n".join([HEADER + skipped + ".", *sections])


def _sections(path: str, group: Any) -> Iterator[str]:
    """A section for a group with fields of its own, or one for each group below."""
    parts = [(f"{path}.{f.name}", getattr(group, f.name)) for f in fields(group)]
    if all(is_dataclass(part) for _, part in parts):
        for name, part in parts:
            yield from _sections(name, part)
        return
    title = (type(group).__doc__ or "").splitlines()[0].removesuffix(".")
    rows = [_row(slot) for slot in SLOTS.values() if slot.option.field.startswith(f"{path}.")]
    yield "\n".join([f"\n## {title}\n", HEAD, "|---|---|---|---|", *rows])


def _row(slot: Slot) -> str:
    default = list(slot.default) if isinstance(slot.default, tuple) else slot.default
    meaning = slot.option.meaning.replace("ours:", "*ours*:")
    return f"| `{slot.option.key}` | `{default!r}` | {meaning} | `{slot.option.field}` |"
