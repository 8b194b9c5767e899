"""From the switches and configuration files of the Berkeley and Qualcomm popper to a configuration of popframe."""

from popframe.migration.qpopper.command_line import read_command_line
from popframe.migration.qpopper.config_file import read_config_file
from popframe.migration.qpopper.given import BadInput, Given
from popframe.migration.qpopper.output import toml
from popframe.migration.qpopper.plan import Plan
from popframe.migration.qpopper.superserver import Invocation, read_inetd_conf, read_xinetd
from popframe.migration.qpopper.translation import translated

__all__ = [
    "BadInput",
    "Given",
    "Invocation",
    "Plan",
    "read_command_line",
    "read_config_file",
    "read_inetd_conf",
    "read_xinetd",
    "toml",
    "translated",
]
