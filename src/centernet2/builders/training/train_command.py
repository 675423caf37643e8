"""What a training run was started with, which `--resume` repeats.

`command.yaml` in the output folder holds it. The options of `config.yaml` already fit the data and
the initial weights: their lengths are in iterations, and their seed is chosen.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from centernet2.builders.detector.initial_weights import named_weights, starts_from_timm
from centernet2.builders.detector.loading import config_of
from centernet2.checkpoint.checkpoint import last_checkpoint
from centernet2.config import CLASS_KEYS, Config, ConfigError
from centernet2.config.tree import with_lists
from centernet2.data import DetectionDataset
from centernet2.files import write_atomic
from centernet2.structures import StrPath
from centernet2.zoo import is_address

COMMAND_FILE = "command.yaml"
PLAN_FILE, REPORT_FOLDER = "plan.yaml", "report"  # of a planned run
PLAN_HEADER = "# The config that `centernet2 train` has chosen; --config-file takes it.\n#\n"
COMMAND_HEADER = (
    "# What `centernet2 train --resume` repeats. config.yaml shows all options of the run.\n"
)
DATA_SET_KEYS = ("DATASETS.TRAIN", "DATASETS.TEST")
# length in iterations -> length in epochs, which takes precedence
EPOCHS = {"SOLVER.MAX_ITER": "SOLVER.MAX_EPOCHS", "TEST.EVAL_PERIOD": "TEST.EVAL_EPOCHS"}


@dataclass(frozen=True)
class TrainCommand:
    """Options and paths of a command that starts or resumes a training run."""

    config_name: str
    file: Mapping[str, Any]  # values that the config file states, by key
    overrides: Mapping[str, Any]  # values that take precedence
    data: str | None = None
    data_path: str | None = None
    weights: str | None = None
    device: str | None = None
    reasons: tuple[str, ...] = ()  # for the options of `file`, if they were chosen for the data
    val_images: str = ""  # digest of those that DATASETS.VAL_FRACTION has set apart; "": none
    recorded: bool = True  # else the paths are not known

    @property
    def file_config(self) -> Config:
        """Options of the config file alone."""
        return Config(name=self.config_name).replace(self.file)

    @property
    def config(self) -> Config:
        """All options."""
        return self.file_config.replace(self.overrides)

    @property
    def initial_weights(self) -> str:
        """Weights that the run starts from."""
        config = self.config
        named = named_weights(config, self.weights)
        if named is None and starts_from_timm(config):
            return f"timm's weights of {config.backbone.timm.name}"
        return absolute(named) or "random weights"

    def after(self, previous: TrainCommand) -> TrainCommand:
        """Return the command that resumes a run: what it lacks is as in `previous`.

        An override of `previous` stays unless this command has another one, or a config file with
        another value than the file of `previous`.
        """
        self._require_effect(previous)
        file, previous_file = self.file_config, previous.file_config
        kept = {k: v for k, v in previous.overrides.items() if file[k] == previous_file[k]}
        return replace(
            self.with_paths_of(previous),
            overrides=kept | dict(self.overrides),
            weights=self.weights or previous.weights,
            reasons=previous.reasons,
            val_images=previous.val_images,
        )

    def with_paths_of(self, previous: TrainCommand) -> TrainCommand:
        """Return the command with the data and device of `previous` where it gives none."""
        data = self.data
        if data is None and not all(key in self.overrides for key in DATA_SET_KEYS):
            data = previous.data
        # a folder or a file as data excludes the folder of the data sets with names
        is_path = self.data is not None and Path(self.data).exists()
        return replace(
            self,
            data=data,
            data_path=self.data_path or (None if is_path else previous.data_path),
            device=self.device or previous.device,
        )

    def changes_from(self, previous: TrainCommand) -> list[str]:
        """Describe the paths and the device that differ from those of a previous command."""
        names = ("data", "data_path", "device")
        pairs = {name: (getattr(previous, name), getattr(self, name)) for name in names}
        return [
            f"--{name.replace('_', '-')} {before} -> {now}"
            for name, (before, now) in pairs.items()
            if before != now
        ]

    def with_val_images(self, val_set: DetectionDataset, *, resumed: bool) -> TrainCommand:
        """Record the images set apart by DATASETS.VAL_FRACTION; a resumed run keeps them."""
        fraction = self.config.datasets.val_fraction
        digest = _digest(val_set)
        if resumed and self.val_images not in ("", digest):
            raise ConfigError(
                f"the images have changed, so DATASETS.VAL_FRACTION {fraction} sets other ones "
                "apart for validation, and the model was trained on some of them; resume with the "
                "images of the run, or train in another --output-dir"
            )
        return replace(self, val_images=digest if val_set.divided else "")

    def write(self, output: Path) -> None:
        """Write command.yaml into the output folder, and plan.yaml if options were chosen."""
        if self.reasons:
            lines = "".join(f"# {reason}\n" for reason in self.reasons)
            write_atomic(output / PLAN_FILE, PLAN_HEADER + lines + self.config.to_yaml())
        write_atomic(output / COMMAND_FILE, COMMAND_HEADER + yaml.safe_dump(self.to_dict()))

    def to_dict(self) -> dict[str, Any]:
        """Return the command as what YAML and JSON hold."""
        return {k: v for k, v in with_lists(asdict(self)).items() if k != "recorded"}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TrainCommand:
        """Return the command of `to_dict`; raise if it is none or has unknown options."""
        command = cls(**{**content, "reasons": tuple(content.get("reasons", ()))})
        command.config.to_yaml()
        return command

    def _require_effect(self, previous: TrainCommand) -> None:
        """Refuse what would have no effect on a resumed run."""
        before = previous.config
        others = self.weights is not None and not _same_file(self.weights, previous.initial_weights)
        if others and previous.recorded:
            raise ConfigError(
                f"--weights {self.weights} has no effect, because --resume continues a run that "
                f"started from {previous.initial_weights}; leave --weights out, or train without "
                "--resume in another --output-dir"
            )
        for key, by in EPOCHS.items():
            changes = key in self.overrides and self.overrides[key] != before[key]
            if changes and by not in self.overrides and before[by] > 0:
                raise ConfigError(
                    f"{key} {self.overrides[key]} has no effect, because the run has {by} "
                    f"{before[by]}; give {by} instead, or {by} 0 besides"
                )
        given = [key for key in DATA_SET_KEYS if key in self.overrides]
        if previous.data is not None and self.data is None and len(given) == 1:
            raise ConfigError(
                f"{given[0]} has no effect, because the run has --data {previous.data}; "
                f"give both {' and '.join(DATA_SET_KEYS)}, or --data"
            )


def given_command(
    file: Config,
    values: Mapping[str, Any],
    *,
    data: StrPath | None,
    data_path: StrPath | None,
    weights: StrPath | None,
    device: str | None,
) -> TrainCommand:
    """Collect what a command gives.

    Args:
        file: options of the config file.
        values: overrides by key, which count as given even if they do not differ from the file.
        data, data_path, weights, device: as given.

    Raises:
        ConfigError: data are given twice.
    """
    twice = [key for key in DATA_SET_KEYS if key in values]
    if data is not None and twice:
        raise ConfigError(
            f"{twice[0]} has no effect beside the data set {data}; leave one of them out"
        )
    options = file.replace(values)
    return TrainCommand(
        file.name,
        {key: file[key] for key in file.stated},
        {key: options[key] for key in values},
        data=absolute(data),
        data_path=absolute(data_path),
        weights=absolute(weights),
        device=device,
    )


def previous_command(output: Path) -> TrainCommand | None:
    """Return what the run in an output folder was started with; None: there is none.

    A run without command.yaml, of an earlier version, has the options of its last checkpoint.
    """
    path = output / COMMAND_FILE
    if path.is_file():
        try:
            return TrainCommand.from_dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, AttributeError, OSError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"{path} cannot be read ({reason}); delete it, and repeat --data and the options "
                "of the run"
            ) from None
    last = last_checkpoint(output)
    if last is None:
        return None
    config = config_of(last[1].info)
    values = {key: config[key] for key in config.stated if key not in CLASS_KEYS}
    return TrainCommand(config.name, values, {}, recorded=False)


def absolute(path: StrPath | None) -> str | None:
    """Make the path of a file or folder absolute; keep names and addresses."""
    text = None if path is None else str(path)
    is_path = text and not is_address(text) and Path(text).exists()
    return str(Path(text).absolute()) if text and is_path else text


def _same_file(given: str, before: str) -> bool:
    """Whether two paths name one file, which may not be there any more."""
    if os.path.realpath(given) == os.path.realpath(before):
        return True
    return not Path(given).exists() and Path(given).name == Path(before).name


def _digest(dataset: DetectionDataset) -> str:
    """Return a digest of the image files that does not depend on where the data are."""
    paths = [os.fsdecode(name) for name in dataset.files]
    folders = [os.path.dirname(path) for path in paths if os.path.isabs(path)]
    above = os.path.commonpath(folders) if folders else ""
    names = [os.path.relpath(path, above) if os.path.isabs(path) else path for path in paths]
    return hashlib.sha256(b"\0".join(sorted(map(os.fsencode, names)))).hexdigest()
