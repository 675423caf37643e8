"""What must hold before a version is released; each refusal is one sentence."""

import re
import subprocess
from pathlib import Path

from packaging.version import Version

from release.changelog import released_versions, unreleased_changes

FORM = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")


def refuse(root: Path, version: str) -> None:
    """Raise ValueError if a version cannot be released from a repository."""
    if not FORM.fullmatch(version):
        raise ValueError(f"VERSION is '{version}'; give one such as VERSION=0.2.0 or 0.2.0rc1")
    tags = git(root, "tag", "--list", "v*").split()
    if f"v{version}" in tags:
        raise ValueError(f"the tag v{version} exists; give a newer version")
    changelog = (root / "CHANGELOG.md").read_text("utf-8")
    tagged = [tag[1:] for tag in tags if FORM.fullmatch(tag[1:])]
    newest = max([*tagged, *released_versions(changelog)], key=Version, default=None)
    if newest is not None and Version(version) <= Version(newest):
        raise ValueError(f"{version} is not newer than {newest}, which is released")
    if changes := git(root, "status", "--porcelain"):
        raise ValueError(
            f"the working tree has changes ({changes.splitlines()[0].strip()}); commit"
        )
    if not unreleased_changes(changelog):
        raise ValueError("CHANGELOG.md has no unreleased changes; write what users notice")


def git(root: Path, *words: str) -> str:
    """Return what git prints."""
    command = ["git", "-C", str(root), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
