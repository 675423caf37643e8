"""The command `config`: print a config."""

from centernet2.arguments import checked
from centernet2.jobs import ConfigArgument, Flag, OverridePairs


@checked()
def config(
    name: ConfigArgument | None = None, *overrides: OverridePairs, reference: Flag = False
) -> str:
    """Print a resolved config; without a name, list the packaged configs.

    Parameters
    ----------
    name
        Path of a config, or the name of a packaged one.
    reference
        Print the reference of all options, as Markdown.
    """
    from centernet2.config import Config, config_names, configuration_page, load_config

    if reference:
        return configuration_page().rstrip("\n")
    if name is None:
        return "\n".join(config_names())
    options = name.override(overrides) if isinstance(name, Config) else load_config(name, overrides)
    return options.to_yaml().rstrip("\n")
