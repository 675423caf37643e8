"""The commands that show what there is: `models`, `config`, `doctor`."""

from typing import Annotated

from cyclopts import Parameter

from centernet2.cli.arguments import Flag, Pairs, wide_console


def list_models(
    name: str | None = None,
    *,
    as_json: Annotated[Flag, Parameter(name="--json")] = False,
    markdown: Flag = False,
) -> None:
    """The published models: accuracy, speed, size; --weights zoo:NAME uses one.

    Parameters
    ----------
    name
        Show this one in detail.
    as_json
        Print JSON.
    markdown
        Print the table of the documentation.
    """
    from centernet2.jobs.models import show_models

    shown = show_models(name, as_json=as_json, markdown=markdown)
    wide_console().print(shown, markup=False, highlight=False, soft_wrap=isinstance(shown, str))


def show_config(name: str | None = None, *overrides: Pairs, reference: Flag = False) -> None:
    """Print the resolved settings of a configuration; without a name, the names of the packaged ones.

    Parameters
    ----------
    name
        Path of a configuration, or the name of a packaged one.
    reference
        Print the page on every option instead.
    """
    from centernet2.config import config_names, configuration_page, load_config

    if reference:
        print(configuration_page())
    elif name is None:
        print("\n".join(config_names()))
    else:
        print(load_config(name, overrides).to_yaml(), end="")


def doctor(*, device: str | None = None) -> None:
    """What this machine offers: devices, versions, how each operator runs there, the time of a small training step.

    Parameters
    ----------
    device
        cuda, npu, xpu, mps or cpu; default: the best there is.
    """
    from centernet2.jobs.doctor import examine

    print("\n".join(examine(device)))
