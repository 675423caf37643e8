"""Every option in words, as a page of Markdown."""

from centernet2.config.option import SKIPPED_KEYS
from centernet2.config.tree import SLOTS, Slot, groups

HEADER = """# Configuration

A configuration is a YAML file, or the name of a packaged one (`centernet2 config` lists them). It may name a base
file as `_BASE_`; options on the command line, `KEY VALUE KEY VALUE ...`, come last and win. Keys and defaults are the
reference's; those marked *ours* exist here only, and their defaults change nothing. An unknown key, a wrong type or a
key without a value is refused with one sentence.

`centernet2 config NAME [KEY VALUE ...]` prints the resolved configuration; every training run writes them to `config.yaml` in
its output folder.

The last column is the field of `Config` that holds the value: `load_config(NAME).schedule.max_iter`.

Keys of the reference that mean nothing here are skipped, with everything below them:
"""
HEAD = "| key | default | meaning | field |"


def configuration_page() -> str:
    """Return the page docs/configuration.md."""
    skipped = ", ".join(f"`{key}`" for key in SKIPPED_KEYS)
    sections = (_section(name, group) for name, group in groups())
    return "\n".join([HEADER + skipped + ".", *sections])


def _section(name: str, group: object) -> str:
    title = (type(group).__doc__ or "").splitlines()[0].removesuffix(".")
    rows = [_row(slot) for slot in SLOTS.values() if slot.path[0] == name]
    return "\n".join([f"\n## {title}\n", HEAD, "|---|---|---|---|", *rows])


def _row(slot: Slot) -> str:
    default = list(slot.default) if isinstance(slot.default, tuple) else slot.default
    meaning = slot.option.meaning.replace("ours:", "*ours*:")
    return f"| `{slot.option.key}` | `{default!r}` | {meaning} | `{slot.option.field}` |"
