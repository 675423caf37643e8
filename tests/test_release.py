"""Releases: what is refused, the changelog, the tag; the whole of it as a dry run."""

import json
import re
import shutil
import subprocess
import sys
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import pytest

from release import __main__ as script
from release.changelog import released_versions, unreleased_changes, with_version
from release.environments import Torch, named_releases
from release.refusals import git, refuse

ROOT = Path(__file__).parents[1]
CHANGELOG = """# Changelog

## Unreleased

### Added

- Something.

## 0.2.0 - 2026-01-31

- The first version.
"""
IDENTITY = ("-c", "user.name=Test", "-c", "user.email=test@example.org")


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, *IDENTITY, "commit", "--quiet", "--message", "Change")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a version, a changelog and a tag."""
    root = tmp_path / "repository"
    module = root / "src/centernet2/__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text('"""Package."""\n\n__version__ = "0.2.0"\n')
    (root / "CHANGELOG.md").write_text(CHANGELOG)
    git(tmp_path, "init", "--quiet", "--initial-branch", "main", str(root))
    git(root, "config", "user.name", "Test")
    git(root, "config", "user.email", "test@example.org")
    commit(root)
    git(root, "tag", "v0.3.0rc1")
    return root


def test_version_that_can_be_released(repository: Path) -> None:
    refuse(repository, "0.3.0")


@pytest.mark.parametrize(("version", "message"), [
    ("", "VERSION is ''; give one such as VERSION=0.2.0"),
    ("v0.3", "VERSION is 'v0.3'"),
    ("0.3.0rc1", "the tag v0.3.0rc1 exists; give a newer version"),
    ("0.3.0a1", "0.3.0a1 is not newer than 0.3.0rc1, which is released"),
])  # fmt: skip
def test_refused_versions(version: str, message: str, repository: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        refuse(repository, version)


def test_versions_of_the_changelog_count_in_a_clone_without_tags(repository: Path) -> None:
    git(repository, "tag", "--delete", "v0.3.0rc1")
    with pytest.raises(ValueError, match=r"0\.2\.0 is not newer than 0\.2\.0"):
        refuse(repository, "0.2.0")


def test_changed_tree_is_refused(repository: Path) -> None:
    (repository / "new.txt").touch()
    with pytest.raises(ValueError, match=r"the working tree has changes \(\?\? new.txt\); commit"):
        refuse(repository, "0.3.0")


def test_empty_changelog_is_refused(repository: Path) -> None:
    (repository / "CHANGELOG.md").write_text(CHANGELOG.replace("- Something.\n", ""))
    commit(repository)
    with pytest.raises(ValueError, match="has no unreleased changes; write what users notice"):
        refuse(repository, "0.3.0")


def test_refusal_is_one_sentence_and_exit_code_2(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "ROOT", repository)
    monkeypatch.setattr(sys, "argv", ["release", "0.1.0", "--dry-run"])
    assert script.main() == 2
    printed = capsys.readouterr()
    message = "not released: 0.1.0 is not newer than 0.3.0rc1, which is released\n"
    assert (printed.out, printed.err) == ("", message)


def test_section_of_a_version() -> None:
    assert unreleased_changes(CHANGELOG) == "- Something."
    changed = with_version(CHANGELOG, "0.3.0", date(2026, 3, 1))
    assert "## Unreleased\n\n## 0.3.0 - 2026-03-01\n\n### Added\n\n- Something.\n" in changed
    assert released_versions(changed) == ["0.3.0", "0.2.0"]
    assert unreleased_changes(changed) == ""


def test_changelog_of_the_package_can_be_released() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert len(unreleased_changes(text).splitlines()) > 0


def test_oldest_and_newest_pytorch_of_the_readme() -> None:
    versions = "3.11; 2.11.0, 2.13.0, 2.14.1; 0.26.0, 0.28.0, 0.29.1"
    row = f"| Python, PyTorch, torchvision | {versions} on Linux |"
    assert named_releases(row) == [Torch("2.11.0", "0.26.0"), Torch("2.14.1", "0.29.1")]
    readme = (ROOT / "README.md").read_text("utf-8")
    assert all(re.fullmatch(r"2\.\d+\.\d+", each.torch) for each in named_releases(readme))
    with pytest.raises(ValueError, match=r"README\.md has no row of Python, PyTorch"):
        named_releases("")


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the building and the checks, which take minutes; return the versions built."""
    built: list[str] = []

    def build(tree: Path, folder: Path, version: str) -> Path:
        changelog = (tree / "CHANGELOG.md").read_text()
        assert f'__version__ = "{version}"' in (tree / "src/centernet2/__init__.py").read_text()
        assert f"## {version} - {date.today().isoformat()}\n" in changelog
        built.append(version)
        return folder / "wheel"

    monkeypatch.setattr(script, "build", build)
    monkeypatch.setattr(script, "check_with_torch", lambda wheel, tree, demo: None)
    monkeypatch.setattr(script, "check_other_pythons", lambda wheel: None)
    return built


@pytest.mark.usefixtures("unchecked")
def test_sbom_is_not_published(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script.release(repository, "0.3.0", dry_run=False, demo=False)
    (pattern,) = re.findall(r"twine upload .* (\S+)`", capsys.readouterr().out)
    packages = {"centernet2-0.3.0-py3-none-any.whl", "centernet2-0.3.0.tar.gz"}
    (repository / "dist").mkdir()
    for name in (*packages, "centernet2-0.3.0.cdx.json", "centernet2-0.2.0.tar.gz"):
        (repository / "dist" / name).touch()
    words = ["bash", "-c", f"ls {pattern}"]
    listed = subprocess.run(words, cwd=repository, capture_output=True, text=True, check=True)
    assert {Path(line).name for line in listed.stdout.split()} == packages


def test_release_is_a_commit_and_a_tag(repository: Path, unchecked: list[str]) -> None:
    script.release(repository, "0.3.0", dry_run=False, demo=False)
    assert unchecked == ["0.3.0"]
    assert git(repository, "tag", "--points-at", "HEAD").split() == ["v0.3.0"]
    assert git(repository, "log", "-1", "--format=%s").strip() == "Release 0.3.0"
    assert git(repository, "status", "--porcelain") == ""
    assert '__version__ = "0.3.0"' in (repository / "src/centernet2/__init__.py").read_text()
    with pytest.raises(ValueError, match=r"the tag v0\.3\.0 exists"):
        refuse(repository, "0.3.0")


@pytest.mark.parametrize("fails", [False, True])
def test_dry_run_and_failed_checks_leave_nothing(
    fails: bool, repository: Path, unchecked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = git(repository, "for-each-ref"), git(repository, "worktree", "list")

    def fail(wheel: Path) -> None:
        raise subprocess.CalledProcessError(1, ["smoke"])

    if fails:
        monkeypatch.setattr(script, "check_other_pythons", fail)
        with pytest.raises(subprocess.CalledProcessError):
            script.release(repository, "0.3.0", dry_run=False, demo=False)
    else:
        script.release(repository, "0.3.0", dry_run=True, demo=False)
    assert unchecked == ["0.3.0"]
    assert (git(repository, "for-each-ref"), git(repository, "worktree", "list")) == before
    assert git(repository, "status", "--porcelain") == ""


@pytest.mark.long
def test_whole_dry_run(tmp_path: Path) -> None:
    """Packages, smoke tests in bare environments and the list of packages; the demo has a test."""
    if find_spec("build") is None or find_spec("twine") is None or not shutil.which("git"):
        pytest.skip("the extra [release] is not installed")
    root = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(ROOT), str(root))
    words = [sys.executable, "-m", "release", "99.0.0", "--dry-run", "--without-demo"]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for line in ("smoke test passed", "SBOM: ", "tag: "):
        assert line in done.stdout
    written = {path.name.removeprefix("centernet2-99.0.0") for path in (root / "dist").iterdir()}
    assert written == {"-py3-none-any.whl", ".tar.gz", ".cdx.json"}
    (listed,) = (root / "dist").glob("*.cdx.json")
    component = json.loads(listed.read_text("utf-8"))["metadata"]["component"]
    assert (component["name"], component["version"]) == ("centernet2", "99.0.0")
