"""Release a version from a clean working tree: build, check, tag.

    python -m release 0.2.0 [--dry-run] [--without-demo]

The version is written and committed in a copy of the tree. The branch and the tag move only after
all checks have passed; with --dry-run, they never do. Packages and SBOM are in dist/.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from release.changelog import with_version
from release.environments import (
    PYTHONS,
    call,
    environment,
    find_python,
    named_releases,
    smoke_test,
    start_test,
    this_python,
)
from release.refusals import git, refuse

ROOT = Path(__file__).resolve().parent.parent
VERSION_LINE = re.compile(r'^__version__ = ".*"$', re.MULTILINE)


def main() -> int:
    """Entry point of the script; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m release")
    parser.add_argument("version", nargs="?", default="")
    parser.add_argument("--dry-run", action="store_true", help="move neither branch nor tag")
    parser.add_argument("--without-demo", action="store_true", help="leave out the demo's training")
    given = parser.parse_args()
    try:
        refuse(ROOT, given.version)
        release(ROOT, given.version, dry_run=given.dry_run, demo=not given.without_demo)
    except ValueError as error:
        print(f"not released: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        words = " ".join(map(str, error.cmd))
        print(f"not released: `{words}` ended with {error.returncode}", file=sys.stderr)
        return 1
    return 0


def release(root: Path, version: str, *, dry_run: bool, demo: bool) -> None:
    """Build and check a version, then tag it."""
    with copied_tree(root) as copy:
        write_version(copy, version)
        git(copy, "commit", "--quiet", "--all", "--message", f"Release {version}")
        commit = git(copy, "rev-parse", "HEAD").strip()
        wheel = build(copy, root / "dist", version)
        check_with_torch(wheel, copy, demo=demo)
    check_other_pythons(wheel)
    if dry_run:
        say("tag", "none: a dry run")
        return
    git(root, "merge", "--quiet", "--ff-only", commit)
    git(root, "tag", "--annotate", f"v{version}", "--message", f"Release {version}", commit)
    upload = f"`twine upload --repository-url INDEX dist/centernet2-{version}{{-*.whl,.tar.gz}}`"
    say("tag", f"v{version}; publish with `git push --follow-tags` and {upload}")


@contextmanager
def copied_tree(root: Path) -> Iterator[Path]:
    """Check out the last commit in a temporary folder."""
    with TemporaryDirectory(prefix="centernet2-tree-") as folder:
        copy = Path(folder) / "tree"
        git(root, "worktree", "add", "--quiet", "--detach", str(copy), "HEAD")
        try:
            yield copy
        finally:
            git(root, "worktree", "remove", "--force", str(copy))


def write_version(tree: Path, version: str) -> None:
    """Write a version into the package and into the changelog."""
    module, changelog = tree / "src/centernet2/__init__.py", tree / "CHANGELOG.md"
    text = module.read_text("utf-8")
    module.write_text(VERSION_LINE.sub(f'__version__ = "{version}"', text), "utf-8")
    changed = with_version(changelog.read_text("utf-8"), version, date.today())
    changelog.write_text(changed, "utf-8")


def build(tree: Path, folder: Path, version: str) -> Path:
    """Build and check the source distribution and the wheel; return the wheel."""
    call([sys.executable, "-m", "build", "--outdir", str(folder), str(tree)])
    packages = sorted(folder.glob(f"centernet2-{version}[-.]*"))
    packages = [path for path in packages if path.name.endswith((".whl", ".tar.gz"))]
    call([sys.executable, "-m", "twine", "check", "--strict", *map(str, packages)])
    for path in packages:
        say("built", f"{path.name}, {path.stat().st_size / 2**20:.2f} MiB")
    return next(path for path in packages if path.suffix == ".whl")


def check_with_torch(wheel: Path, tree: Path, *, demo: bool) -> None:
    """Use the wheel with the oldest and the newest PyTorch; list what the newest one installs."""
    releases = named_releases((tree / "README.md").read_text("utf-8"))
    for torch in releases:
        newest = torch == releases[-1]
        name = f"Python {this_python()}, PyTorch {torch.torch}"
        with environment(sys.executable, f"{wheel}[demo]", *torch.requirements()) as python:
            smoke_test(python, tree, demo=demo and newest)
            say(name, "smoke test passed" + (", demo passed" if demo and newest else ""))
            if newest:
                write_sbom(python, wheel, tree)
    if not demo:
        say("demo", "not run: --without-demo")


def write_sbom(python: Path, wheel: Path, tree: Path) -> None:
    """Write the packages of an environment as a CycloneDX file beside the wheel."""
    name, version = wheel.name.split("-")[:2]
    path = wheel.parent / f"{name}-{version}.cdx.json"
    options = ["--pyproject", str(tree / "pyproject.toml"), "--mc-type", "library"]
    program = Path(sys.executable).with_name("cyclonedx-py")
    call([str(program), "environment", *options, "--output-file", str(path), str(python)])
    content = json.loads(path.read_text("utf-8"))
    content["metadata"]["component"]["version"] = version  # pyproject.toml does not state it
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    say("SBOM", f"{path.name}, {len(content['components'])} packages")


def check_other_pythons(wheel: Path) -> None:
    """Start the wheel in every other Python that can be had."""
    for version in PYTHONS:
        if version == this_python():
            continue
        python = find_python(version)
        if python is not None:
            start_test(python, wheel)
        shown = "not run: no interpreter" if python is None else "compiles, prints its help"
        say(f"Python {version}", shown)


def say(subject: str, text: str) -> None:
    """Print a line of the report."""
    print(f"{subject + ':':30}{text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
