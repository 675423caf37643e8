"""Translate docs/configuration.md, which is generated, to Chinese: docs/zh/configuration.md.

python docs/translate_configuration.py
"""

import json
from pathlib import Path

DOCS = Path(__file__).resolve().parent
WORDS = DOCS / "zh/configuration.json"  # English texts -> Chinese ones


def translate_page() -> str:
    """Return the Chinese page; raise ValueError that lists the texts without a translation."""
    words: dict[str, str] = json.loads(WORDS.read_text("utf-8"))
    missing: list[str] = []

    def translate(text: str) -> str:
        if text not in words and not text.startswith(("`", "---")):
            missing.append(text)
        return words.get(text, text)

    def translate_line(line: str) -> str:
        if line.startswith("|---"):
            return line
        if line.startswith("| "):
            cells = line.removeprefix("| ").removesuffix(" |").split(" | ")
            return f"| {' | '.join(map(translate, cells))} |"
        marks = line[: len(line) - len(line.lstrip("# "))]
        return marks + translate(line.removeprefix(marks))

    parts = (DOCS / "configuration.md").read_text("utf-8").rstrip("\n").split("\n\n")
    page = "\n\n".join(
        words.get(part) or "\n".join(map(translate_line, part.split("\n"))) for part in parts
    )
    if missing:
        raise ValueError(f"{WORDS} lacks translations of: {'; '.join(missing)}")
    return page + "\n"


if __name__ == "__main__":
    (DOCS / "zh/configuration.md").write_text(translate_page(), "utf-8")
