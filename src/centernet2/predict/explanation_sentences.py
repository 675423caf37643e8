"""The sentences of an explanation, in English and Chinese."""

# ruff: noqa: RUF001  # the punctuation of Chinese

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from centernet2.models.explain.explanation import ClassStep, Cut, LocationStep, ProposalStep
    from centernet2.predict.explaining import PointExplanation

Language: TypeAlias = Literal["en", "zh"]
# why a detector cannot explain: an exported file without a record or without PyTorch, or
# test-time augmentation
Unexplained: TypeAlias = Literal["no record", "no torch", "augmented"]
SHOWN_CLASSES = 3  # of each stage and of each proposal
ENGLISH: Mapping[str, str] = {
    "head": "point ({x:g}, {y:g}): {summary}",
    "heat map": "heat map at the point:",
    "strongest": "the strongest location is on level {level} (value {heat:.3g})",
    "ended": "{start}; {cut}",
    "followed": "{start}; {cut}, which is followed instead",
    "became": "{start}; as class {name} (score {score:.3g}): {fate}",
    "location": "  {level} (stride {stride}), column {column}, row {row}, at {point}{kind}: value "
    "{heat:.4f}, score {score:.4f}, {rank} {count} candidates, box {box}: {fate}",
    "kind": ", {name}",
    "rank": "rank {rank} of",
    "last": "behind all",
    "strongest proposal": "proposal {row} of {count}, of the strongest location: score "
    "{score:.4f}, box {box}",
    "proposal here": "proposal {row} of {count}, behind a detection here: score {score:.4f}, box "
    "{box}",
    "stage": "  stage {number}: box {box}; {classes}",
    "background": "background",
    "class": "  as {name}: probability {probability:.4f}, score {score:.4f}: {fate}",
    "proposal": "proposal {row}",
    "detection": "detection {row}",
    "hidden detection": "detection {row} (below the threshold of those shown)",
    "no proposal": "a box that is no proposal",
    "no detection": "a box that is no detection",
    "below": "detection {row}, below the threshold of those shown",
    "suppressed": "suppressed by NMS: IoU {value:.3f} exceeds {limit:g} with {rival}, score "
    "{score:.4f}, box {box}",
    "score threshold": "not above the score threshold: {value:.4g}, threshold {limit:g}",
    "local maximum": "no local maximum: a neighbor has the value {limit:.4g}",
    "box inside the image": "its box is empty inside the image",
    "candidates per level": "not among the {limit:g} candidates per level: rank {value:g}",
    "proposals per image": "not among the {limit:g} proposals per image: rank {value:g}",
    "candidates for detections": "not among the {limit:g} candidates for detections: rank "
    "{value:g}",
    "detections per image": "not among the {limit:g} detections per image: rank {value:g}",
    "no record": "the model {name} is an exported file without a record of its steps; export it "
    "with --record, or serve the checkpoint, to read why there is a box or none",
    "no torch": "the model {name} is explained by PyTorch, which the service does not have",
    "augmented": "the model {name} has test-time augmentation or abstains; serve it with "
    "TEST.AUG.ENABLED False and without --abstain",
}
CHINESE: Mapping[str, str] = {
    "head": "点 ({x:g}, {y:g})：{summary}",
    "heat map": "该点的热图：",
    "strongest": "最强的位置在层 {level}（值 {heat:.3g}）",
    "ended": "{start}；{cut}",
    "followed": "{start}；{cut}，以下改为说明那个候选框",
    "became": "{start}；作为类别 {name}（分数 {score:.3g}）：{fate}",
    "location": "  {level}（步长 {stride}），第 {column} 列，第 {row} 行，"
    "位于 {point}{kind}：值 "
    "{heat:.4f}，分数 {score:.4f}，{rank} {count} 个候选，边框 {box}：{fate}",
    "kind": "，{name}",
    "rank": "名次 {rank}，共",
    "last": "排在全部候选之后，共",
    "strongest proposal": "候选框 {row}（共 {count} 个），来自最强的位置："
    "分数 {score:.4f}，边框 {box}",
    "proposal here": "候选框 {row}（共 {count} 个），对应此处的一个检测结果："
    "分数 {score:.4f}，边框 {box}",
    "stage": "  第 {number} 级：边框 {box}；{classes}",
    "background": "背景",
    "class": "  作为 {name}：概率 {probability:.4f}，分数 {score:.4f}：{fate}",
    "proposal": "候选框 {row}",
    "detection": "检测结果 {row}",
    "hidden detection": "检测结果 {row}（低于显示的阈值）",
    "no proposal": "一个没有成为候选框的边框",
    "no detection": "一个没有成为检测结果的边框",
    "below": "检测结果 {row}，低于显示的阈值",
    "suppressed": "被 NMS 抑制：与{rival} 的 IoU {value:.3f} 超过 {limit:g}，"
    "后者的分数 {score:.4f}，边框 {box}",
    "score threshold": "没有超过分数阈值：{value:.4g}，阈值 {limit:g}",
    "local maximum": "不是局部最大值：有一个相邻值为 {limit:.4g}",
    "box inside the image": "它的边框在图像内为空",
    "candidates per level": "不在每层的 {limit:g} 个候选之内：名次 {value:g}",
    "proposals per image": "不在每张图像的 {limit:g} 个候选框之内：名次 {value:g}",
    "candidates for detections": "不在 {limit:g} 个检测候选之内：名次 {value:g}",
    "detections per image": "不在每张图像的 {limit:g} 个检测之内：名次 {value:g}",
    "no record": "模型 {name} 是没有记录各步骤的导出文件；请用 --record 导出，"
    "或者改用检查点，才能了解为什么有框或没有框",
    "no torch": "模型 {name} 需要 PyTorch 来解释，而服务没有安装它",
    "augmented": "模型 {name} 使用测试时增强或会弃权；"
    "请以 TEST.AUG.ENABLED False 且不带 --abstain 提供服务",
}
LANGUAGES = {"en": ENGLISH, "zh": CHINESE}
COMMA = {"en": ", ", "zh": "，"}


def sentence(key: str, language: str, **values: Any) -> str:
    """Return a sentence; ValueError for another language."""
    if language not in LANGUAGES:
        raise ValueError(f"language is '{language}'; it is one of {', '.join(LANGUAGES)}")
    return LANGUAGES[language][key].format(**values)


class Sentences:
    """An explanation in words.

    Args:
        explained: what is said.
        language: of LANGUAGES.
    """

    def __init__(self, explained: PointExplanation, language: str) -> None:
        self._explained, self._record, self._language = explained, explained.record, language

    def _say(self, key: str, **values: Any) -> str:
        return sentence(key, self._language, **values)

    def text(self) -> str:
        """Return lines: of what is shown, and of the best location."""
        x, y = (round(each, 1) for each in self._record.point)
        lines = [self._say("head", x=x, y=y, summary=self.summary()), "", self._say("heat map")]
        lines += [self._location(each) for each in self._record.locations]
        for path in self._record.proposals:
            is_shown = any(map(self._explained.is_shown, path.classes))
            if path.row == self._record.location.proposal or is_shown:
                lines += ["", *self._proposal(path)]
        return "\n".join(lines)

    def summary(self) -> str:
        """Return one sentence on what became of the strongest location at the point."""
        best = self._record.location
        start = self._say("strongest", level=self._level(best), heat=best.heat)
        if best.cut is not None:
            cut = self._cut(best.cut, "proposal")
            if best.proposal is None:
                return self._say("ended", start=start, cut=cut)
            start = self._say("followed", start=start, cut=cut)
        (path,) = (each for each in self._record.proposals if each.row == best.proposal)
        chosen = self._explained.chosen(path)
        name, fate = self._name(chosen.label), self._fate(chosen)
        return self._say("became", start=start, name=name, score=chosen.score, fate=fate)

    def _level(self, step: LocationStep) -> str:
        return self._explained.level_names[step.level]

    def _name(self, label: int) -> str:
        return self._explained.class_name(label)

    def _location(self, step: LocationStep) -> str:
        kind = self._say("kind", name=self._name(step.label))
        is_last = step.rank > step.num_candidates
        return self._say(
            "location",
            level=self._level(step),
            stride=step.stride,
            column=step.column,
            row=step.row,
            point=_corners(step.point),
            kind=kind if self._record.predicts_classes else "",
            heat=step.heat,
            score=step.score,
            rank=self._say("last") if is_last else self._say("rank", rank=step.rank),
            count=step.num_candidates,
            box=_corners(step.box),
            fate=self._say("proposal", row=step.proposal)
            if step.cut is None
            else self._cut(step.cut, "proposal"),
        )

    def _proposal(self, path: ProposalStep) -> list[str]:
        is_best = path.row == self._record.location.proposal
        key = "strongest proposal" if is_best else "proposal here"
        count, box = self._record.num_proposals, _corners(path.box)
        lines = [self._say(key, row=path.row, count=count, score=path.score, box=box)]
        for number, stage in enumerate(path.stages):
            shown = COMMA[self._language].join(self._probabilities(stage.probabilities))
            lines.append(self._say("stage", number=number, box=_corners(stage.box), classes=shown))
        for number, step in enumerate(path.classes):
            if number >= SHOWN_CLASSES and not self._explained.is_shown(step):
                continue  # a weak detection of an improbable class
            name, fate = self._name(step.label), self._fate(step)
            lines.append(
                self._say(
                    "class", name=name, probability=step.probability, score=step.score, fate=fate
                )
            )
        return lines

    def _probabilities(self, p: Sequence[float]) -> list[str]:
        """Return the best classes of a stage and the background, the last one of `p`."""
        best = sorted(range(len(p) - 1), key=lambda label: -p[label])[:SHOWN_CLASSES]
        shown = [f"{self._name(label)} {p[label]:.3f}" for label in best]
        return [*shown, f"{self._say('background')} {p[-1]:.3f}"]

    def _fate(self, step: ClassStep) -> str:
        if step.cut is None:
            key = "detection" if self._explained.is_shown(step) else "below"
            return self._say(key, row=step.detection)
        rival, kind = step.cut.by, "detection"
        if rival is not None and rival.row is not None:
            is_shown = self._explained.reaches(rival.score, step.label)
            kind = "detection" if is_shown else "hidden detection"
        return self._cut(step.cut, kind)

    def _cut(self, cut: Cut, kind: str) -> str:
        """Say which rule ended a way; `kind` of record is what a rival may be."""
        if cut.by is None:
            return self._say(cut.rule, value=cut.value, limit=cut.limit)
        is_row = cut.by.row is not None
        return self._say(
            "suppressed",
            value=cut.value,
            limit=cut.limit,
            rival=self._say(kind, row=cut.by.row) if is_row else self._say(f"no {kind}"),
            score=cut.by.score,
            box=_corners(cut.by.box),
        )


def _corners(box: Sequence[float]) -> str:
    return "[" + ", ".join(f"{side:.1f}" for side in box) + "]"
