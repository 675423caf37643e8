"""Every option in words, as a page of Markdown."""

from typing import Any

from centernet2.config.option import SKIPPED_KEYS, Group
from centernet2.config.tree import Config

HEADER = """# Configuration

A configuration is a YAML file, or the name of a packaged one (`centernet2 config` lists them). It may name a base
file as `_BASE_`; options on the command line, `KEY VALUE KEY VALUE ...`, come last and win. Keys and defaults are the
reference's; those marked *ours* exist here only, and their defaults change nothing. An unknown key, a wrong type or a
key without a value is refused with one sentence.

`centernet2 config NAME [KEY VALUE ...]` prints the resolved settings; every training writes them to `config.yaml` in
its output folder.

Keys of the reference that mean nothing here are skipped, with everything below them:
"""


def configuration_page() -> str:
    """The page docs/configuration.md."""
    skipped = ", ".join(f"`{key}`" for key in SKIPPED_KEYS)
    groups = [
        info.default for info in Config.model_fields.values() if isinstance(info.default, Group)
    ]
    return "\n".join([HEADER + skipped + ".", *(_section(group) for group in groups)])


def _section(group: Group) -> str:
    kind = type(group)
    title = (kind.__doc__ or "").splitlines()[0].removesuffix(".")
    rows = [
        f"| `{_extra(field)['key']}` | `{_shown(field.default)}` | {_marked(field.description or '')} |"
        for field in kind.model_fields.values()
    ]
    return "\n".join([f"\n## {title}\n", "| key | default | meaning |", "|---|---|---|", *rows])


def _extra(field: Any) -> dict[str, Any]:
    return dict(field.json_schema_extra)


def _shown(value: Any) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)


def _marked(description: str) -> str:
    return description.replace("ours:", "*ours*:")
