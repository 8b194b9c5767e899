"""Start a demonstration server with two users and sample mail."""

from __future__ import annotations

import argparse
import os
import pwd
import sys
from importlib import resources
from pathlib import Path

from popframe.config.address import normal_address
from popframe.errors import ConfigError
from popframe.password import hash_password
from popframe.server.listener import split_address
from popframe.server.master import Master

DEFAULT_ADDRESS = "127.0.0.1:1110"
DEFAULT_DIRECTORY = Path("popframe-demo")

PASSWORDS = {"alice": "wonderland", "bob": "builder"}
"""The demonstration's users. Its server listens on the loopback interface only."""

RUN_AS = "nobody"
"""Whom the server becomes when root starts it."""

CONFIGURATION_NAME = "popframe.toml"
FIRST_LINE = "# Configuration of `popframe demo`; written anew at each start."

CONFIGURATION = """\
{first_line}
plugins = ["auth_file", "store_mbox"]

[server]
listen = ["{address}"]
{run_as}
[plugin.auth_file]
path = "users"

[plugin.store_mbox]
spool_dir = "mail"
"""

INSTRUCTIONS = """\
popframe demonstration server on {address}

  user   alice       password  wonderland      4 messages
  user   bob         password  builder         2 messages

Try it from another terminal:

  curl --user alice:wonderland pop3://{address}/          list the messages
  curl --user alice:wonderland pop3://{address}/1         read the first one
  python3 -c 'import poplib; m = poplib.POP3("{host}", {port}); m.user("bob"); m.pass_("builder"); print(m.list())'

In a mail program:

  account type POP3   server {host}   port {port}   no encryption   password sent in clear
  (Only for this demonstration: it listens on this machine alone.)

Files: {directory}   the mail is in mail/, filled anew at each start.
Press Ctrl-C to stop.

"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``popframe demo``."""
    parser.description = (
        "Make a folder with a configuration, two users and sample mail, serve it on the loopback interface, and print "
        "what to try. Nothing outside that folder is touched. Needs the plugins auth_file and store_mbox."
    )
    parser.add_argument(
        "--directory", metavar="DIR", type=Path, default=DEFAULT_DIRECTORY, help="the folder (default: ./%(default)s)"
    )
    parser.add_argument(
        "--listen", metavar="ADDRESS", default=DEFAULT_ADDRESS, help="address:port; port 0: any (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve the demonstration until a signal comes."""
    try:
        address = normal_address(arguments.listen)
    except ValueError as error:
        raise ConfigError(f"--listen: {error}") from error
    directory: Path = arguments.directory.resolve()
    _fill(directory, address)
    # Root may have started this where nobody may look in; from inside the folder, its relative paths work all the same.
    os.chdir(directory)
    return Master(Path(CONFIGURATION_NAME), when_ready=lambda addresses: _instruct(addresses[0], directory)).run()


def _fill(directory: Path, address: str) -> None:
    """Write the folder's files; a folder that is not ours is left alone.

    Raises:
        ConfigError: There is something else under that name.
    """
    configuration = directory / CONFIGURATION_NAME
    is_ours = configuration.is_file() and configuration.read_text().startswith(FIRST_LINE)
    if directory.exists() and not is_ours and any(directory.iterdir()):
        raise ConfigError(f"--directory: {directory} is there already and was not made by `popframe demo`")
    is_root = os.geteuid() == 0
    run_as = f'run_as = "{RUN_AS}"\n' if is_root else ""
    mail = directory / "mail"
    mail.mkdir(parents=True, exist_ok=True)
    configuration.write_text(CONFIGURATION.format(first_line=FIRST_LINE, address=address, run_as=run_as))
    users = directory / "users"
    users.touch(mode=0o600)
    users.write_text("".join(f"{name}:{hash_password(word.encode())}\n" for name, word in PASSWORDS.items()))
    samples = resources.files("popframe.cli") / "demo_mail"
    for name in PASSWORDS:
        spool = mail / name
        spool.touch(mode=0o600)
        spool.write_bytes((samples / f"{name}.mbox").read_bytes())
    if is_root:
        owner = pwd.getpwnam(RUN_AS)
        for path in (directory, configuration, mail, users, *mail.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def _instruct(address: str, directory: Path) -> None:
    host, port = split_address(address)
    sys.stdout.write(INSTRUCTIONS.format(address=address, host=host, port=port, directory=directory))
    sys.stdout.flush()
