"""The network addresses in the source are those of public_address_statement.md."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "test", "demo")
ADDRESS = re.compile(r"\b(?:https?|ftp|tcp|wss?)://[^\s\"'`<>)\]]+")
ROW = re.compile(r"^\| `([^`]+)` \| `([^`]+)` \| .+ \|$", re.MULTILINE)


def addresses(root: Path) -> set[tuple[str, str]]:
    """Return (file, address) for every address in text files of the folders."""
    found = set()
    for folder in FOLDERS:
        for path in (root / folder).rglob("*"):
            name = path.relative_to(root).as_posix()
            if (
                not path.is_file()
                or "__pycache__" in name
                or "/output/" in name
                or ".egg-info" in name
            ):
                continue
            found |= {
                (name, address)
                for address in ADDRESS.findall(path.read_text("utf-8", errors="ignore"))
            }
    return found


def covers(row: tuple[str, str], found: tuple[str, str]) -> bool:
    return found[0].startswith(row[0]) and found[1].startswith(row[1])


def test_address_statement_is_complete() -> None:
    rows = ROW.findall((ROOT / "public_address_statement.md").read_text("utf-8"))
    present = addresses(ROOT)
    missing = [found for found in sorted(present) if not any(covers(row, found) for row in rows)]
    assert not missing, f"public_address_statement.md lacks {missing}"
    gone = [row for row in rows if not any(covers(row, found) for found in present)]
    assert not gone, f"public_address_statement.md lists what is no longer there: {gone}"


def test_new_address_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "new.py").write_text('URL = "https://example.org/weights.pth"\n')
    assert addresses(tmp_path) == {("src/new.py", "https://example.org/weights.pth")}


def test_files_of_the_statement_exist() -> None:
    text = (ROOT / "public_address_statement.md").read_text("utf-8")
    for path in re.findall(r"`((?:src|tests)/[^`]+)`", text):
        assert (ROOT / path).exists(), path
