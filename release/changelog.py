"""The changelog: what is unreleased, which versions are, and the section of a new one."""

import re
from datetime import date

UNRELEASED = "## Unreleased"
VERSION = re.compile(r"^## (\d\S*)", re.MULTILINE)


def unreleased_changes(changelog: str) -> str:
    """Return the lines below the heading of unreleased changes; "": there are none."""
    _, _, rest = changelog.partition(f"{UNRELEASED}\n")
    text = rest.partition("\n## ")[0]
    return "\n".join(line for line in text.splitlines() if line.strip() and line[0] != "#")


def released_versions(changelog: str) -> list[str]:
    """Return the versions that have a section."""
    return VERSION.findall(changelog)


def with_version(changelog: str, version: str, day: date) -> str:
    """Return the changelog with the unreleased changes as those of a version."""
    return changelog.replace(UNRELEASED, f"{UNRELEASED}\n\n## {version} - {day.isoformat()}", 1)
