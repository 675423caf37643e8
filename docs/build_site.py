"""Build the documentation site in English and Chinese, from README, docs/ and docs/zh/.

    python -m docs.build_site [FOLDER]     # writes FOLDER/site; default: build/docs

Needs `pip install zensical`. Both languages have the same pages; the README is the home page.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from string import Template

import yaml

from docs.blocks import count_rows
from docs.python_api import describe_public_names

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)#\s]+)((?:#[^)\s]*)?\))")
COUNTED = re.compile(r"^<!-- snippets: (.+) -->$", re.MULTILINE)  # where the counts stand
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
MARKS = "\u3001\u3002\uff00-\uff1f"  # of Chinese punctuation
WIDE = f"{MARKS}\u3400-\u9fff"
LINE = r"\n {0,3}"  # the end of a line, and the indentation of the next one
BREAK = re.compile(
    rf"(?<=[{WIDE}]){LINE}(?=[{WIDE}])|(?<=[{MARKS}]){LINE}(?=[\w`\[])|{LINE}(?=[{MARKS}])"
)
SECTIONS = {  # the title in each language, and the pages
    ("Start", "入门"): [
        "index", "quick-start", "data", "fine-tuning", "model-zoo", "migrating", "faq",
    ],
    ("Train", "训练"): [
        "training", "recipe", "lite", "backbones", "augmentation", "masks", "configuration",
        "large-data", "multi-node", "performance",
    ],
    ("Evaluate", "评估"): ["evaluation", "report", "calibration"],
    ("Predict and deploy", "预测与部署"): [
        "prediction", "tiling", "explain", "first-stage", "export", "runtimes", "serving",
        "labelling", "scale", "python-api",
    ],
    ("Notebooks", "笔记本"): [
        "notebook-predict-and-explain", "notebook-fine-tune", "notebook-first-stage",
    ],
    ("About", "关于"): [
        "differences", "reproduce", "paper", "architecture", "extending",
        "contributing", "benchmarks", "changelog", "network-addresses", "snippets",
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Language:
    """A language of the site.

    Args:
        code: of HTML.
        position: of its titles in `SECTIONS`.
        folder: with its pages.
        sources: pages outside the folder; relative to the root of the project.
        address: below the site's.
        site_name: title of the site.
        to_light, to_dark, to_system: titles of the switch of colors.
    """

    code: str
    position: int
    folder: str
    sources: dict[str, str]
    address: str
    site_name: str
    to_light: str
    to_dark: str
    to_system: str


ENGLISH_SOURCES = {
    "index": "README.md",
    "contributing": "CONTRIBUTING.md",
    "benchmarks": "benchmarks/README.md",
    "changelog": "CHANGELOG.md",
    "network-addresses": "public_address_statement.md",
}
CHINESE_SOURCES = {"index": "README.zh-CN.md", "contributing": "CONTRIBUTING.zh-CN.md"}
LANGUAGES = (
    Language(
        "en", 0, "docs", ENGLISH_SOURCES, "", "CenterNet2",
        "Light pages", "Dark pages", "Pages as the system",
    ),
    Language(
        "zh", 1, "docs/zh", ENGLISH_SOURCES | CHINESE_SOURCES, "zh/",
        "CenterNet2 文档", "浅色页面", "深色页面", "跟随系统",
    ),
)  # fmt: skip


def build_site(folder: Path) -> None:
    """Build both languages into FOLDER/site; raise CalledProcessError where a page has an error."""
    shutil.rmtree(folder, ignore_errors=True)
    for language in LANGUAGES:
        pages = folder / "pages" / language.code
        stage_pages(language, pages)
        config = folder / f"{language.code}.yml"
        config.write_text(write_config(language, pages), "utf-8")
        command = ["-m", "zensical", "build", "--clean", "--strict", "--config-file", str(config)]
        subprocess.run([sys.executable, *command], check=True)
    link_languages(folder / "site")


def sources_of(language: Language) -> dict[str, Path]:
    """Return the file of each page, by its name on the site; in English, if it has no other."""
    folders = [ROOT / "docs", ROOT / language.folder]
    own = {path.stem: path for folder in folders for path in sorted(folder.glob("*.md"))}
    for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb")):
        own.setdefault(f"notebook-{path.stem}", path)
    return {**{name: ROOT / path for name, path in language.sources.items()}, **own}


def stage_pages(language: Language, folder: Path) -> None:
    """Copy the pages of a language and their pictures to a folder, with links that fit there."""
    folder.mkdir(parents=True)
    sources = sources_of(language)
    # notebooks are tested as a whole, in English
    counted = {name: path for name, path in sources.items() if not name.startswith("notebook-")}
    for name, path in sources.items():
        text = move_links(read_page(path), path, sources)
        text = COUNTED.sub(lambda match: "\n".join(count_rows(counted, match[1])), text)
        (folder / f"{name}.md").write_text(join_lines(text), "utf-8")
    with (folder / "python-api.md").open("a", encoding="utf-8") as page:
        page.write("\n" + describe_public_names())
    shutil.copytree(ROOT / "docs/images", folder / "images")
    shutil.copy(ROOT / "docs/site.css", folder)


def read_page(path: Path) -> str:
    """Return a page in Markdown; that of a notebook has its cells without output."""
    if path.suffix != ".ipynb":
        return path.read_text("utf-8")
    return "\n\n".join(
        text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for cell in json.loads(path.read_text("utf-8"))["cells"]
        if (text := "".join(cell["source"]))
    )


def move_links(text: str, page: Path, sources: dict[str, Path]) -> str:
    """Rewrite relative links of a page to those of the site; raise ValueError for other files."""
    names = {path.resolve(): f"{name}.md" for name, path in sources_of(LANGUAGES[0]).items()}
    names |= {path.resolve(): f"{name}.md" for name, path in sources.items()}
    for language in LANGUAGES:  # from README to README
        readme = (ROOT / language.sources["index"]).resolve()
        if sources["index"].resolve() != readme:
            names[readme] = f"/{language.address}"

    def moved(match: re.Match[str]) -> str:
        target = match[2]
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = (page.parent / target).resolve()
        images = ROOT / "docs/images"
        if images in path.parents:
            return f"{match[1]}images/{path.relative_to(images).as_posix()}{match[3]}"
        if path not in names:
            raise ValueError(f"{page} links to {target}, which is no page of the site")
        return f"{match[1]}{names[path]}{match[3]}"

    return LINK.sub(moved, text)


def join_lines(text: str) -> str:
    """Join the lines of Chinese paragraphs: HTML shows the end of a line as a space."""
    parts = FENCED.split(text)
    parts[::2] = [BREAK.sub("", part) for part in parts[::2]]
    return "".join(parts)


def link_languages(site: Path) -> None:
    """Let links to the home page of the other language lead to the same page, wherever it is."""
    for language in LANGUAGES:
        for name in sources_of(language):
            path = "" if name == "index" else name
            page = site / language.address / path / "index.html"
            text = page.read_text("utf-8")
            for other in LANGUAGES:
                there = os.path.relpath(site / other.address / path, page.parent)
                text = text.replace(f'href="/{other.address}"', f'href="{there}/"')
            page.write_text(text, "utf-8")


def write_config(language: Language, pages: Path) -> str:
    """Return the YAML config of a language, relative to the folder of the config file."""
    common = Template((ROOT / "docs/site.yml").read_text("utf-8")).substitute(vars(language))
    own = {
        "site_name": language.site_name,
        "docs_dir": f"pages/{language.code}",
        "site_dir": f"site/{language.address}",
        "nav": navigation(language, pages),
    }
    return yaml.safe_dump(own, allow_unicode=True) + common


def navigation(language: Language, pages: Path) -> list[dict[str, list[str]]]:
    """Return the sections with their pages that exist; raise ValueError for pages outside them."""
    existing = {path.stem for path in pages.glob("*.md")}
    listed = [page for names in SECTIONS.values() for page in names]
    if missing := existing - set(listed):
        raise ValueError(f"SECTIONS lacks the pages {', '.join(sorted(missing))}")
    return [
        {titles[language.position]: [f"{name}.md" for name in names if name in existing]}
        for titles, names in SECTIONS.items()
    ]


if __name__ == "__main__":
    build_site(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/docs").resolve())
