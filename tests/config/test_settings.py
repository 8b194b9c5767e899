"""The bounds of the core's settings, and what plugins inherit."""

from __future__ import annotations

import enum
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, Field, ValidationError

from popframe import ConfigPath, PluginSettings
from popframe.config import (
    Configuration,
    LoginSettings,
    LogSettings,
    Pop3Settings,
    Problem,
    ProxySettings,
    ServerSettings,
    TraceSettings,
)

TABLES: dict[str, type[BaseModel]] = {
    "server": ServerSettings,
    "log": LogSettings,
    "pop3": Pop3Settings,
    "login": LoginSettings,
    "proxy": ProxySettings,
    "trace": TraceSettings,
}
ALL_FIELDS = [(table, name) for table, model in TABLES.items() for name in model.model_fields]

ProblemsIn = Callable[[str, dict[str, None]], list[Problem]]
Valid = Callable[[str, dict[str, type[BaseModel] | None]], Configuration]


@pytest.mark.parametrize(("table", "name"), ALL_FIELDS)
def test_every_setting_says_what_it_means(table: str, name: str) -> None:
    """The description is the documentation; a number of seconds says so."""
    field = TABLES[table].model_fields[name]

    assert field.description
    assert not name.endswith("_seconds") or "econds" in field.description


def test_defaults_are_valid() -> None:
    """An empty table is a good one."""
    for model in TABLES.values():
        filled_in = model().model_dump(mode="json", exclude_none=True)

        assert (
            model.model_validate_json(model().model_dump_json()).model_dump(mode="json", exclude_none=True) == filled_in
        )


@pytest.mark.parametrize(
    ("line", "key", "text"),
    [
        ("server.listen = []", "server.listen", "must not be empty, unless listen_tls is not, or one of those in "
         "[proxy]"),
        ('server.listen = ["[::1]:1", "[0::1]:1"]', "server.listen", "[::1]:1 is listed twice"),
        ('server.listen = ["x"]', "server.listen[0]", "'x' is not address:port, as in '127.0.0.1:110' or '[::1]:110'"),
        ('server.isolation = "none"', "server.isolation", "'none' is not allowed (allowed: per-user, shared)"),
        ('server.run_as = "root"', "server.run_as", "'root' is the superuser; name an unprivileged user"),
        ('server.run_as = "no such"', "server.run_as", "this machine has no user 'no such'"),
        ("server.fronts = -1", "server.fronts", "must be greater than or equal to 0, not -1"),
        (
            "server.idle_timeout_seconds = 599",
            "server.idle_timeout_seconds",
            "must be at least 600 (RFC 1939 section 3); for tests set allow_short_idle_timeout = true",
        ),
        (
            'server.idle_timeout_seconds = "600"',
            "server.idle_timeout_seconds",
            "must be a whole number, not a string",
        ),
        ("server.idle_timeout_seconds = 600.0", "server.idle_timeout_seconds", "must be a whole number, not a number "
         "with a fraction"),
        ("server.idle_timeout_seconds = true", "server.idle_timeout_seconds", "must be a whole number, not true or "
         "false"),
        ("server.login_timeout_seconds = 600000", "server.login_timeout_seconds", "must be less than or equal to "
         "86400, not 600000"),
        (
            "server.max_connections_per_address = 1025",
            "server.max_connections_per_address",
            "must not be more than max_connections, which is 1024",
        ),
        (
            "server = { max_connections = 8, max_connections_per_user = 9 }",
            "server.max_connections_per_user",
            "must not be more than max_connections, which is 8",
        ),
        ('log.level = "warn"', "log.level", "'warn' is not allowed; did you mean 'warning'? (allowed: warning, debug, "
         "error, info)"),
        ('log.syslog_address = "dev/log"', "log.syslog_address", "must be an absolute path"),
        ('log.syslog_facility = "news"', "log.syslog_facility", None),
        ('log.syslog_priority = "debug"', "log.syslog_priority", "'debug' is not allowed (allowed: info, notice)"),
        ('trace.networks = ["192.0.2.1/24"]', "trace.networks[0]", "'192.0.2.1/24' has bits behind its prefix; the "
         "network is '192.0.2.0/24'"),
        ('trace.users = [""]', "trace.users[0]", None),
        ("trace.bodies = true", "trace.bodies", "needs file: messages are not written into the log"),
        ('pop3.greeting = "welcome <1@h>"', "pop3.greeting", "must not hold '<': clients would take it for APOP's "
         "timestamp banner (RFC 1939 section 7)"),
        ('pop3.greeting = "[SYS] hello"', "pop3.greeting", "must not begin with '[': clients would take it for a "
         "response code (RFC 2449 section 8)"),
        ('pop3.greeting = "Grüezi"', "pop3.greeting", "must be printable ASCII without a blank at its ends"),
        ('pop3.greeting = "a\\r\\n-ERR"', "pop3.greeting", "must be printable ASCII without a blank at its ends"),
        ('pop3.implementation = " x"', "pop3.implementation", "must be printable ASCII without a blank at its ends"),
        (f'pop3.greeting = "{"x" * 201}"', "pop3.greeting", "must have at most 200 characters"),
        ("pop3.max_bad_commands = 9", "pop3.max_bad_commands", "must be greater than or equal to 10, not 9"),
        ("pop3.max_failed_logins = 2", "pop3.max_failed_logins", "must be greater than or equal to 3, not 2"),
        ("pop3.replace_nul = 1", "pop3.replace_nul", "must be true or false, not a whole number"),
        ("login.refusal_seconds = 0.1", "login.refusal_seconds", "must be greater than or equal to 0.25, not 0.1"),
        ("login.refusal_seconds = 60", "login.refusal_seconds", "must be less than or equal to 10, not 60"),
        ("login.refusal_seconds = nan", "login.refusal_seconds", None),
        ('login.refusal_seconds = "1"', "login.refusal_seconds", "must be a number, not a string"),
        ("login.refusal_seconds = true", "login.refusal_seconds", "must be a number, not true or false"),
        ("login.min_uid = 0", "login.min_uid", "must be greater than or equal to 1, not 0"),
        ('login.require_shell = "no"', "login.require_shell", "must be true or false, not a string"),
        ("login.nologin_file = false", "login.nologin_file", "must be a string, not true or false"),
        ("login.allow_users = []", "login.allow_users", "must not be empty"),
        ('login.allow_users = "alice"', "login.allow_users", "must be a list, not a string"),
        ('login.deny_users = ["alice", "*@old.example"]', "login.deny_users[1]", "'*@old.example': names are compared "
         "as they are, patterns are not known"),
        ('login.deny_users = [" alice"]', "login.deny_users[0]", "' alice' is not a name: empty, blanks at its ends, "
         "or characters that do not print"),
        ('login.deny_users = [""]', "login.deny_users[0]", None),
        ('login.deny_users = ["a\\u0000b"]', "login.deny_users[0]", None),
        ('login.allow_groups = ["root", "no such"]', "login.allow_groups[1]", "this machine has no group 'no such'"),
        ('login.deny_groups = ["no such"]', "login.deny_groups[0]", "this machine has no group 'no such'"),
        ('login.deny_groups = ["a\\u0000b"]', "login.deny_groups[0]", None),
        ("login.allow_networks = []", "login.allow_networks", "must not be empty"),
        ('login.allow_networks = ["10.1.2.3/8"]', "login.allow_networks[0]", "'10.1.2.3/8' has bits behind its prefix; "
         "the network is '10.0.0.0/8'"),
        ('login.deny_networks = ["192.0.2"]', "login.deny_networks[0]", "'192.0.2' is not a network, as in "
         "'192.0.2.0/24' or '2001:db8::/32'"),
        ('login.deny_networks = ["fe80::%eth0/64"]', "login.deny_networks[0]", "'fe80::%eth0/64' names an interface; a "
         "network does not"),
        ('login.deny_network = ["::/0"]', "login.deny_network", None),
        ('proxy.listen = ["127.0.0.1:1110"]', "proxy", "networks must name the proxies: from anybody else no header is "
         "believed"),
        ('proxy = { listen = ["[::1]:1"], networks = [] }', "proxy.networks", None),
        ('proxy.networks = ["0.0.0.0/0"]', "proxy.networks[0]", "'0.0.0.0/0' are all addresses there are; name those "
         "of the proxies"),
        ('proxy.networks = ["::1", "::/0"]', "proxy.networks[1]", None),
        ('proxy.networks = ["::ffff:0:0/96"]', "proxy.networks[0]", None),
        ('proxy = { listen = ["[::1]:1", "[0::1]:1"], networks = ["::1"] }', "proxy.listen", "[::1]:1 is listed twice"),
        ('proxy = { listen = ["localhost:110"], networks = ["::1"] }', "proxy.listen", "127.0.0.1:110 is listed in "
         "[server] as well: a client either comes through a proxy or does not"),
        ('proxy = { listen_tls = ["[::1]:1"], networks = ["::1"] }', "proxy.listen_tls", "needs a certificate: "
         "tls.certificate"),
        ("proxy.header_timeout_seconds = 2", "proxy.header_timeout_seconds", "must be greater than or equal to 3, not "
         "2"),
        ("proxy.trust_tls = 1", "proxy.trust_tls", "must be true or false, not a whole number"),
        ("server = 1", "server", "must be a table, not a whole number"),
        ('server.listen = "127.0.0.1:110"', "server.listen", "must be a list, not a string"),
    ],
)  # fmt: skip
def test_value_out_of_bounds_is_refused(problems_in: ProblemsIn, line: str, key: str, text: str | None) -> None:
    """One mistake gives one message that names the key and says what would be right (P-035, Q-040)."""
    problems = problems_in(f'plugins = ["a"]\n{line}\n', {"a": None})

    assert [(problem.line, problem.key) for problem in problems] == [(2, key)]
    assert text is None or problems[0].text == text


def test_short_idle_timeout_is_for_those_who_ask_for_it(valid: Valid) -> None:
    """Ten minutes are the least by RFC 1939 section 3 (P-035); tests cannot wait so long."""
    text = 'plugins = ["a"]\nserver = { idle_timeout_seconds = 1, allow_short_idle_timeout = true }'

    assert valid(text, {"a": None}).server.idle_timeout_seconds == 1


def test_mistake_in_one_setting_blames_no_other(problems_in: ProblemsIn) -> None:
    """A limit is not compared with another one that is wrong itself."""
    text = 'plugins = ["a"]\nserver.max_connections = 0\nserver.max_connections_per_user = 2000'

    assert [problem.line for problem in problems_in(text, {"a": None})] == [2]


def test_low_limit_needs_no_other_setting(valid: Valid) -> None:
    """The defaults of the parts are not held against a small whole."""
    assert valid('plugins = ["a"]\nserver.max_connections = 5', {"a": None}).server.max_connections == 5


def test_rules_are_taken_as_they_are_written(valid: Valid, tmp_path: Path) -> None:
    """Networks in one form, paths from the folder of the file, groups that the machine has."""
    text = (
        'plugins = ["a"]\nlogin = { allow_networks = ["2001:DB8::/32", "192.0.2.1"], deny_groups = ["root"], '
        'nologin_file = "closed", allow_users = ["alice", "b c@example.org"] }'
    )
    login = valid(text, {"a": None}).login

    assert login.allow_networks == ("2001:db8::/32", "192.0.2.1/32")
    assert login.deny_groups == ("root",)
    assert login.nologin_file == tmp_path / "closed"
    assert login.allow_users == ("alice", "b c@example.org")


def test_run_as_takes_an_unprivileged_user(valid: Valid) -> None:
    """Any user of the machine but the superuser."""
    user = next(entry.pw_name for entry in pwd.getpwall() if entry.pw_uid != 0)

    assert valid(f'plugins = ["a"]\nserver.run_as = "{user}"', {"a": None}).server.run_as == user


# --- what plugins inherit


class Colour(enum.Enum):
    """A choice."""

    RED = "red"


class Settings(PluginSettings):
    """A plugin's settings of many types."""

    users: ConfigPath = Path("users")
    folders: tuple[ConfigPath, ...] = ()
    state: ConfigPath | None = None
    colour: Colour = Colour.RED
    names: frozenset[str] = frozenset()
    number: int = Field(default=0, ge=0, description="A number.")


def test_relative_path_starts_from_the_folder_of_the_file(valid: Valid, tmp_path: Path) -> None:
    """Where the server was started does not matter; an absolute path stays as it is."""
    text = 'plugins = ["p"]\n[plugin.p]\nusers = "sub/users"\nfolders = ["a", "/b"]\nstate = "s"\n'
    settings = valid(text, {"p": Settings}).plugin_settings["p"]

    assert isinstance(settings, Settings)
    assert settings.users == tmp_path / "sub/users"
    assert settings.folders == (tmp_path / "a", Path("/b"))
    assert settings.state == tmp_path / "s"


def test_relative_default_path_starts_there_too(valid: Valid, tmp_path: Path) -> None:
    """A default means the same as the same words in the file."""
    settings = valid('plugins = ["p"]', {"p": Settings}).plugin_settings["p"]

    assert isinstance(settings, Settings)
    assert settings.users == tmp_path / "users"
    assert settings.state is None


def test_toml_has_a_form_for_every_type(valid: Valid) -> None:
    """A string fills an enumeration, a list a set, though types are strict."""
    text = 'plugins = ["p"]\n[plugin.p]\ncolour = "red"\nnames = ["x", "x"]\n'
    settings = valid(text, {"p": Settings}).plugin_settings["p"]

    assert isinstance(settings, Settings)
    assert settings.colour is Colour.RED
    assert settings.names == {"x"}


def test_settings_do_not_change() -> None:
    """They are shared by all threads."""
    settings = Settings()

    with pytest.raises(ValidationError, match="frozen"):
        settings.number = 1  # type: ignore[misc]  # that mypy refuses it too is the point


def test_path_without_a_file_stays_as_it_is() -> None:
    """Python code that makes settings itself names no folder."""
    assert Settings(users=Path("x")).users == Path("x")


def test_everybody_may_come_through_a_proxy(valid: Valid) -> None:
    """Whoever listens for proxies need not listen for others; a single address is a network."""
    text = 'server.listen = []\n[proxy]\nlisten = ["[::1]:0", "[::1]:0"]\nnetworks = ["::ffff:10.0.0.1"]\n'

    proxy = valid(f'plugins = ["a"]\n{text}', {"a": None}).proxy

    assert (proxy.listen, proxy.networks, proxy.header_timeout_seconds) == (("[::1]:0",) * 2, ("10.0.0.1/32",), 5)
    assert not proxy.trust_tls
