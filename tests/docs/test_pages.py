"""The pages of README and docs/: their links, and the two languages side by side."""

import re
from pathlib import Path

import pytest

from docs.build_site import LANGUAGES, LINK, ROOT, build_site, join_lines, read_page, sources_of
from docs.translate_configuration import translate_page
from tests.helpers.pages import CHINESE, ENGLISH, FENCE, PAGES, TRANSLATED

HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
OUTSIDE = re.compile(r"[\w+.-]+:")  # https:, mailto:


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub and the site write them."""
    found: dict[str, int] = {}
    names = set()
    for _, title in HEADING.findall(FENCE.sub("", read_page(page))):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", title)
        anchor = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        count = found[anchor] = found.get(anchor, -1) + 1
        names.add(f"{anchor}-{count}" if count else anchor)
    return names


def outline(page: Path) -> list[int]:
    """Return the level of each heading."""
    text = FENCE.sub("", read_page(page))
    return [len(marks) for marks, _ in HEADING.findall(text)]


def numbers(page: Path) -> list[str]:
    """Return the numbers of a page in ascending order: other languages order words otherwise."""
    text = LINK.sub(r"\1)", FENCE.sub("", read_page(page)))
    return sorted(NUMBER.findall(text))


def commands(page: Path) -> list[list[str]]:
    """Return the lines of each code block, without comments, which are translated."""
    blocks = FENCE.findall(read_page(page))
    return [[re.sub(r"\s+#.*|^#.*", "", line) for line in block.splitlines()] for block in blocks]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = FENCE.sub("", read_page(page))
    for _, target, anchor in re.findall(r"(\[[^\]]*\]\()([^)#\s]*)((?:#[^)\s]*)?)\)", text):
        if OUTSIDE.match(target):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page} links to {target}"
        if anchor and file.suffix == ".md":
            assert anchor[1:] in anchors(file), f"{page} links to {target}{anchor}"


@pytest.mark.parametrize("name", TRANSLATED)
def test_both_languages_have_the_same_headings_commands_and_numbers(name: str) -> None:
    english, chinese = ENGLISH[name], CHINESE[name]
    assert outline(chinese) == outline(english)
    assert commands(chinese) == commands(english)
    assert numbers(chinese) == numbers(english)


def test_configuration_is_translated() -> None:
    page = (ROOT / "docs/zh/configuration.md").read_text("utf-8")
    assert page == translate_page(), "run python docs/translate_configuration.py"


def test_site_is_built_without_warnings(tmp_path: Path) -> None:
    build_site(tmp_path)
    for language in LANGUAGES:
        home = tmp_path / "site" / language.address / "index.html"
        assert f'lang="{language.code}"' in home.read_text("utf-8")
        for name in sources_of(language):
            assert name == "index" or (home.parent / name / "index.html").is_file()
    for page, other in (("", "zh/"), ("training/", "../zh/training/"), ("zh/faq/", "../../faq/")):
        text = (tmp_path / "site" / page / "index.html").read_text("utf-8")
        assert f'<a href="{other}" hreflang' in text
        assert (tmp_path / "site" / page / other / "index.html").is_file()


def test_lines_of_chinese_paragraphs_are_joined() -> None:
    code = "```bash\na # 一\n二\n```\n"
    text = "检测器\n类别，\n`a`、\nb 和\nc\n（d）。\n\n- 一\n  二\n\n"  # noqa: RUF001
    joined = "检测器类别，`a`、b 和\nc（d）。\n\n- 一二\n\n"  # noqa: RUF001
    assert join_lines(text + code) == joined + code
    english = "two\nlines, with `code`,\nand (a\nlist):\n\n- one\n"
    assert join_lines(english) == english
