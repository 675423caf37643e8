"""docs/architecture.md answers each question from at most two files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
QUESTIONS = re.findall(r"^\| ([^|]+\?) \| ([^|]+) \|$", PAGE, flags=re.MULTILINE)


def test_page_answers_the_questions_of_a_newcomer() -> None:
    assert len(QUESTIONS) >= 15


@pytest.mark.parametrize(("question", "answer"), QUESTIONS)
def test_answer_is_at_most_two_existing_files(question: str, answer: str) -> None:
    files = re.findall(r"`([^`]+)`", answer)
    assert 1 <= len(files) <= 2, question
    folders = (ROOT / "src" / "centernet2", ROOT)
    missing = [name for name in files if not any((folder / name).is_file() for folder in folders)]
    assert not missing, question


def test_every_path_of_the_page_exists() -> None:
    # a name with a slash or a suffix is a path; * stands for several files
    paths = re.findall(r"`([a-z_*]+/[a-z_*/.]*|[a-z_]+\.pyi?|tests/[a-z_.]+)`", PAGE)
    for path in paths:
        assert [*(ROOT / "src").glob(f"**/{path}"), *ROOT.glob(path)], path
