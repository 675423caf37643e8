"""The Markdown card of a model, English and Chinese, with a record for programs."""

# ruff: noqa: RUF001  # the punctuation of Chinese

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any, Literal

from centernet2.outputs import mark_of
from centernet2.report.markdown import markdown_number, markdown_table

Language = Literal["en", "zh"]

CARD_FILES: dict[Language, str] = {"en": "card.md", "zh": "card.zh-CN.md"}
RECORD = re.compile(r"^```json\n(\{.*?^\})\n```$", re.MULTILINE | re.DOTALL)
SHOWN_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
DIGEST_LENGTH = 16  # digits that are shown of a SHA-256
# of the text; the names of metrics, packages and options are the same in all languages
WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "other": "In Chinese: [{0}]({0}).",
        "what": "A detector of {0}, trained by CenterNet2 ({1}): {2}.",
        "one": "1 class",
        "several": "{0} classes",
        "calibrated": "Its scores are calibrated: a score is the probability that a detection is "
        "right.",
        "raw": "Its scores are not calibrated: they rank detections, and are no probabilities.",
        "use": "Use",
        "accuracy": "Accuracy",
        "percent": "On the validation images, in percent.",
        "none": "The weights of this file have not been evaluated.",
        "class": "class",
        "data": "Data",
        "split": "split",
        "images": "images",
        "objects": "objects",
        "about data": "The digest is of the annotations, and of the names and sizes of the image "
        "files.",
        "training": "Training",
        "seed": "Seed {0}, {1:,} iterations. The record below has the values of the config file.",
        "version": "version",
        "machine": "machine",
        "again": "Train it again",
        "about again": "This trains again from the record below, and says whether the weights come "
        "out the same: equal to the bit on the same machine with the same versions, elsewhere AP "
        "within {0:g}. Data in another place: `--data`.",
        "record": "Record",
    },
    "zh": {
        "other": "英文版：[{0}]({0})。",
        "what": "检测 {0} 的检测器，由 CenterNet2（{1}）训练：{2}。",
        "one": "1 个类别",
        "several": "{0} 个类别",
        "calibrated": "分数已校准：分数就是检测正确的概率。",
        "raw": "分数未校准：只用于排序，不是概率。",
        "use": "使用",
        "accuracy": "精度",
        "percent": "在验证图像上，单位为百分比。",
        "none": "此文件的权重没有评估过。",
        "class": "类别",
        "data": "数据",
        "split": "划分",
        "images": "图像",
        "objects": "目标",
        "about data": "摘要由标注以及图像文件的名称和大小算出。",
        "training": "训练",
        "seed": "种子 {0}，{1:,} 次迭代。配置文件的各个值在下面的记录中。",
        "version": "版本",
        "machine": "机器",
        "again": "重新训练",
        "about again": "此命令按下面的记录重新训练，并说明权重是否相同："
        "在同一台机器、相同版本上逐位相同，在别处 AP 相差不超过 {0:g}。"
        "数据在别处时用 `--data`。",
        "record": "记录",
    },
}


def card_markdown(card: Mapping[str, Any], language: Language, *, tolerance: float) -> str:
    """Write a card, which `training_card.card_of` returns, as Markdown.

    `tolerance` is that of AP where weights cannot be equal to the bit.
    """
    words, origin = WORDS[language], card["origin"]
    other = next(name for each, name in CARD_FILES.items() if each != language)
    names, count = ", ".join(card["classes"]), len(card["classes"])
    classes = words["one"] if count == 1 else words["several"].format(count)
    versions = [[name, text] for name, text in origin["versions"].items()]
    machine = [[name, str(value)] for name, value in origin["machine"].items()]
    lines = [
        f"<!-- {mark_of('card')} -->",
        "",
        f"# {card['config']}",
        "",
        words["other"].format(other),
        "",
        words["what"].format(classes, card["config"], names),
        words["calibrated" if card["calibrated"] else "raw"],
        *_section(words["use"]),
        *_command(f"centernet2 predict photos --weights {shlex.quote(card['file'])}"),
        *_section(words["accuracy"]),
        *_accuracy(card["metrics"], words),
        *_section(words["data"]),
        *_data(origin["data"], words),
        "",
        words["about data"],
        *_section(words["training"]),
        *_command(command_line(origin["command"])),
        "",
        words["seed"].format(origin["seed"], card["iteration"]),
        "",
        *markdown_table([words["version"], ""], versions),
        "",
        *markdown_table([words["machine"], ""], machine),
        *_section(words["again"]),
        *_command(f"centernet2 reproduce {CARD_FILES[language]}"),
        "",
        words["about again"].format(tolerance),
        *_section(words["record"]),
        *_fenced("json", json.dumps(card, ensure_ascii=False, indent=1)),
    ]
    return "\n".join(lines) + "\n"


def find_record(text: str) -> str | None:
    """Return the record in a written card as JSON; None: there is none."""
    match = RECORD.search(text)
    return None if match is None else match[1]


def command_line(command: Mapping[str, Any]) -> str:
    """Return the command line of a training run, without automatically chosen options."""
    chosen = bool(command["reasons"])
    options = {
        "--config-file": None if chosen else command["config_name"],
        "--data": command["data"],
        "--data-path": command["data_path"],
        "--weights": command["weights"],
        "--device": command["device"],
    }
    given = [word for key, value in options.items() if value for word in (key, value)]
    pairs = [str(word) for pair in command["overrides"].items() for word in pair]
    return shlex.join(["centernet2", "train", *given, *pairs])


def _accuracy(metrics: Mapping[str, float | None], words: Mapping[str, str]) -> list[str]:
    names = [name for name in SHOWN_METRICS if f"bbox/{name}" in metrics]
    if not names:
        return [words["none"]]
    classes = [
        [name.removeprefix("bbox/AP/"), markdown_number(value, 2)]
        for name, value in metrics.items()
        if name.startswith("bbox/AP/")
    ]
    return [
        words["percent"],
        "",
        *markdown_table(names, [[markdown_number(metrics[f"bbox/{name}"], 2) for name in names]]),
        "",
        *markdown_table([words["class"], "AP"], classes),
    ]


def _data(data: Mapping[str, Mapping[str, Any]], words: Mapping[str, str]) -> list[str]:
    rows = [
        [split, each["name"], f"{each['images']:,}", f"{each['objects']:,}",
         f"`{each['sha256'][:DIGEST_LENGTH]}`"]
        for split, each in data.items()
    ]  # fmt: skip
    return markdown_table([words["split"], "", words["images"], words["objects"], "SHA-256"], rows)


def _section(title: str) -> list[str]:
    return ["", f"## {title}", ""]


def _command(text: str) -> list[str]:
    return _fenced("bash", text)


def _fenced(kind: str, text: str) -> list[str]:
    return [f"```{kind}", text, "```"]
