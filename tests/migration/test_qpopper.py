"""Qpopper's configuration becomes one of popframe: everything that can be, and a remark for the rest."""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
import trustme

from popframe.config import LoginSettings
from popframe.migration import qpopper
from popframe.migration.qpopper.command_line import SWITCHES
from popframe.migration.qpopper.options import OPTIONS, Kind
from popframe.migration.qpopper.translation import RULES
from popframe.server import startup
from popframe_auth_file import passwd_command
from popframe_xtnd import Settings as XtndSettings

INSTALLED = {"auth_shadow", "store_mbox", "bulletin", "session_stats"}


def from_file(folder: Path, text: str) -> list[qpopper.Given]:
    """Read a configuration file."""
    (folder / "qpopper.conf").write_text(text)
    return qpopper.read_config_file(folder / "qpopper.conf")


def mistakes_in(folder: Path, text: str) -> list[str]:
    """Return what is wrong with a configuration file, without the folder."""
    with pytest.raises(qpopper.BadInput) as caught:
        from_file(folder, text)
    return [mistake.replace(f"{folder}/", "") for mistake in caught.value.mistakes]


def imported(
    given: list[qpopper.Given], folder: Path, *, installed: Collection[str] = INSTALLED, port: int | None = None
) -> dict[str, Any]:
    """Return the settings that come of it, which the server must accept."""
    path = folder / "popframe.toml"
    path.write_text(qpopper.toml(qpopper.translated(given, installed, port=port)))
    startup.check(path)
    return tomllib.loads(path.read_text())


# --- what is read


def test_every_way_to_write_an_option(tmp_path: Path) -> None:
    """Quotes, blanks, comments, upper case, numbers in C's notation, and booleans without a value."""
    given = from_file(
        tmp_path,
        "# a comment\n\n  set timeout=120\nSET Timeout = 0x78 # a comment\nset timeout = 0170\n"
        "set bulldir = \"/a dir\" # b\nset spool-dir = '/b'\nset home-dir-mail = `c`\nset tracefile = /d#e\n"
        "set shy\nreset shy\nset shy = 1\nset shy = false#\nset tls-support = stls\nset uw-KLUGE",
    )

    assert [(one.name, one.value) for one in given] == [
        ("timeout", 120),
        ("timeout", 120),
        ("timeout", 120),
        ("bulldir", "/a dir"),
        ("spool-dir", "/b"),
        ("home-dir-mail", "c"),
        ("tracefile", "/d#e"),
        ("shy", True),
        ("shy", False),
        ("shy", True),
        ("shy", False),
        ("tls-support", "STLS"),
        ("UW-kluge", True),
    ]
    assert given[0].origin == f"{tmp_path}/qpopper.conf:3"


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("timeout = 3", "'timeout' is neither 'set' nor 'reset'; right would be 'set NAME = VALUE'"),
        ("set", "the name of an option is missing; right would be 'set NAME'"),
        ("set timeoutt = 3", "Qpopper has no option 'timeoutt'; did you mean 'timeout'? (known: timeout, UW-kludge, "),
        ("set timeout", "timeout needs a value, a whole number; 'set timeout = VALUE'"),
        ("set timeout =", "timeout needs a value, a whole number; 'set timeout = VALUE'"),
        ("set timeout 3", "'=' is missing before '3'; right would be 'set timeout = VALUE'"),
        ("set timeout = 3m", "timeout: '3m' is not a whole number"),
        ("set timeout = 09", "timeout: '09' is not a whole number"),
        ("set timeout = -1", "timeout: '-1' is below 0"),
        ("set shy = yes", "shy: 'yes' is not true or false"),
        ("set bulldir = /a b", "'b' behind the value of bulldir; a value with blanks stands in quotes"),
        ("reset timeout", "timeout is no option of true and false, which alone can be reset; 'set timeout = VALUE'"),
        (
            "set tls-support = ssl",
            "tls-support: 'ssl' is not one of its words (known: STLS, alternate-port, default, none)",
        ),
        ("set config-file = {folder}/missing", "missing: cannot be read: No such file or directory"),
        ("set config-file = {folder}/qpopper.conf", "qpopper.conf includes itself; remove this line"),
    ],
)
def test_a_mistake_names_its_line_and_what_would_be_right(line: str, mistake: str, tmp_path: Path) -> None:
    """And hides no other."""
    found = mistakes_in(tmp_path, f"set shy\n{line.format(folder=tmp_path)}\nset nothing\n")

    assert len(found) == 2
    assert mistake in found[0]
    assert "qpopper.conf:2" in found[0]
    assert found[1].startswith("qpopper.conf:3: Qpopper has no option 'nothing'")


def test_files_are_included_where_they_are_named(tmp_path: Path) -> None:
    """What comes later counts; mistakes say by whom they were included."""
    (tmp_path / "more").write_text("set timeout = 700\nset shy\n")
    text = f"set timeout = 600\nset config-file = {tmp_path}/more\nset shy = false\n"

    assert [one.value for one in from_file(tmp_path, text)] == [600, 700, True, False]
    (tmp_path / "more").write_text("set nothing\n")
    assert mistakes_in(tmp_path, text)[0].endswith(" (included by qpopper.conf:2)")


def test_what_is_no_text_is_no_configuration(tmp_path: Path) -> None:
    """The line is named."""
    (tmp_path / "qpopper.conf").write_bytes(b"set shy\nset \xff\n")
    with pytest.raises(qpopper.BadInput, match=r"qpopper\.conf:2: is not UTF-8"):
        qpopper.read_config_file(tmp_path / "qpopper.conf")


def test_switches_stand_alone_or_together(tmp_path: Path) -> None:
    """As getopt(3) reads them, with or without the program's name and an address."""
    (tmp_path / "conf").write_text("set shy\n")
    words = ["/usr/sbin/popper", "192.0.2.1:8110", "-sdT600", "-b", "/bulls", "-R", "-p4", "-l", "1", "-f"]
    given = qpopper.read_command_line([*words, f"{tmp_path}/conf", "-e", "login_delay=5,expire=7", "-y", "local1"])

    assert [(one.name, one.value) for one in given] == [
        ("address", "192.0.2.1:8110"),
        ("statistics", True),
        ("debug", True),
        ("timeout", 600),
        ("bulldir", "/bulls"),
        ("reverse-lookup", False),
        ("clear-text-password", "TLS"),
        ("tls-support", "STLS"),
        ("shy", True),
        ("announce-login-delay", 5),
        ("announce-expire", 7),
        ("log-facility", "local1"),
    ]


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        (["-z"], "command line: popper has no switch -z (known: -b, -B, "),
        (["-s", "pop"], "command line: 'pop' is no switch; an address can only be the first word"),
        (["-T"], "command line: -T needs an argument"),
        (["-T", "x"], "command line: -T: 'x' is not a whole number"),
        (["-p", "5"], "command line: -p 5: must be a number from 0 to 4"),
        (["-l", "STLS"], "command line: -l STLS: must be a number from 0 to 2"),
        (["-e", "delay=5"], "command line: -e delay=5: right would be login_delay=SECONDS, or expire=DAYS"),
        (["-b", "/\udcff"], "characters that do not print"),
    ],
)
def test_a_mistake_on_the_command_line_is_told(words: list[str], mistake: str) -> None:
    """Together with every other one."""
    with pytest.raises(qpopper.BadInput) as caught:
        qpopper.read_command_line([*words, "-?"] if words != ["-T"] else words)

    assert mistake in caught.value.mistakes[0]


# --- what comes of it


def test_every_option_has_a_rule_and_every_switch_an_option() -> None:
    """Nothing is passed over in silence."""
    assert {*RULES, "config-file"} - {"address", "-x"} == set(OPTIONS)
    assert {switch.option for switch in SWITCHES.values()} - {"", "-x"} <= set(OPTIONS)


def samples(folder: Path) -> list[str]:
    """Return a line for each option, and for each of its words."""
    (folder / "users").write_text("alice\nbob # a friend\n\n# nobody\nalice\n")
    certificate = trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.bytes()
    (folder / "pem").write_bytes(certificate)
    lines = []
    for name, option in OPTIONS.items():
        texts = {
            Kind.BOOLEAN: ("true", "false"),
            Kind.NUMBER: ("0", "1"),
            Kind.TEXT: (f"{folder}/users",),
            Kind.WORD: option.words,
        }[option.kind]
        if name.startswith("tls-") and option.kind is Kind.TEXT:
            texts = (f"{folder}/pem",)
        before = f"set tls-server-cert-file = {folder}/pem\n" if name.startswith("tls-") else ""
        lines += [f"{before}set {name} = {text}\n" for text in texts if name != "config-file"]
    return lines


def test_whatever_is_set_is_accepted_and_told(tmp_path: Path) -> None:
    """Each option by itself, with each of its words: a setting, or a remark; and the server accepts it."""
    for sample in samples(tmp_path):
        given = from_file(tmp_path, sample)
        plan = qpopper.translated(given, INSTALLED)
        text = qpopper.toml(plan)
        told = [line for line in text.splitlines() if "qpopper.conf:" in line]
        imported(given, tmp_path)

        assert any(f"qpopper.conf:{sample.count(chr(10))})" in line for line in told), (sample, text)


def test_nothing_set_is_what_qpopper_does(tmp_path: Path) -> None:
    """Its defaults, where they are others than here."""
    settings = imported([], tmp_path)

    assert settings["plugins"] == ["auth_shadow", "store_mbox"]
    assert settings["server"]["isolation"] == "per-user"
    assert settings["server"]["listen"] == ["0.0.0.0:110", "[::]:110"]
    assert settings["login"] == {"clear_text": "always", "min_uid": 11}
    assert settings["pop3"] == {"update_on_abort": True}
    assert settings["log"]["syslog_priority"] == "notice"
    assert settings["plugin"]["store_mbox"] == {"spool_dir": "/var/mail", "uidl": "x-uidl", "status_headers": "popper"}


@pytest.mark.parametrize(
    ("words", "table", "expected"),
    [
        (["-T", "600"], "server", {"idle_timeout_seconds": 600}),
        (["-T", "0"], "server", {"idle_timeout_seconds": 86_400}),
        (["-T", "30"], "server", {"idle_timeout_seconds": 30, "allow_short_idle_timeout": True}),
        (["8110"], "server", {"listen": ["0.0.0.0:8110", "[::]:8110"]}),
        (["192.0.2.1:8110"], "server", {"listen": ["192.0.2.1:8110"]}),
        (["192.0.2.1"], "server", {"listen": ["192.0.2.1:110"]}),
        (["[2001:db8::1]"], "server", {"listen": ["[2001:db8::1]:110"]}),
        (["[2001:db8::1]:8110"], "server", {"listen": ["[2001:db8::1]:8110"]}),
        ([":8110"], "server", {"listen": ["0.0.0.0:8110", "[::]:8110"]}),
        (["-R"], "server", {"look_up_client_names": False}),
        (["-p1"], "login", {"clear_text": "never"}),
        (["-p3"], "login", {"clear_text": "local"}),
        (["-d"], "trace", {"all_sessions": True}),
        (["-t", "/t"], "trace", {"all_sessions": True, "file": "/t"}),
        (["-y", "local0"], "log", {"syslog_facility": "local0"}),
        (["-e", "login_delay=60"], "abuse", {"login_delay_seconds": 60}),
    ],
)
def test_a_switch_is_the_setting_of_today(
    words: list[str], table: str, expected: dict[str, object], tmp_path: Path
) -> None:
    """With the same value."""
    settings = imported(qpopper.read_command_line(words), tmp_path)[table]

    assert {key: settings[key] for key in expected} == expected


def words_of(plan: qpopper.Plan, title: str) -> str:
    """Return what stands under a title at the end of the file, without its line ends."""
    section = qpopper.toml(plan).partition(f"# {title}\n")[2].partition("\n\n")[0]
    return " ".join(section.replace("#", "").split())


def test_what_was_compiled_in_is_remarked_on() -> None:
    """No option tells whether there are users of APOP and XTND XMIT; what is to be done for them is always said."""
    plan = qpopper.translated([], INSTALLED)
    words = words_of(plan, "Cannot be known, since it was compiled in or not:")

    assert "a database of popauth (often /etc/pop.auth) with users in it: their passwords are not taken over" in words
    assert "'popframe passwd --scram FILE USER' puts in what SCRAM needs" in words
    assert "XTND XMIT, if users send mail by it: the plugin xtnd with plugin.xtnd.xmit = true" in words
    assert plan.left_out == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            ["-p1"],
            "-p 1 (command line): users have logged in by APOP or Kerberos; what to do for those of APOP stands at",
        ),
        (["-p0"], ""),
        (["-p2"], ""),
        (["-p3"], ""),
        (["-p4"], ""),
    ],
)
def test_users_of_apop_are_told_of_where_nobody_else_could_log_in(given: list[str], told: str, tmp_path: Path) -> None:
    """As left out; wherever passwords are taken under some condition, TLS may have been the only reason for that."""
    plan = qpopper.translated(qpopper.read_command_line(given), INSTALLED)

    assert "".join(plan.left_out).startswith(told)
    assert bool(plan.left_out) == bool(told)
    imported(qpopper.read_command_line(given), tmp_path)


def test_another_mail_program_is_told_of(tmp_path: Path) -> None:
    """With the plugin and its settings."""
    plan = qpopper.translated(from_file(tmp_path, "set mail-command = /usr/lib/sendmail\n"), INSTALLED)

    assert len(plan.left_out) == 1
    assert "is the plugin xtnd with plugin.xtnd.xmit = true, and plugin.xtnd.sendmail for another" in plan.left_out[0]


def test_what_is_advised_exists() -> None:
    """Settings and options that the remarks name."""
    parser = argparse.ArgumentParser()
    passwd_command.add_arguments(parser)
    text = " ".join(qpopper.translated([], INSTALLED).unknown)
    commands = re.findall(r"'popframe passwd ([^']*)'", text)

    assert {parser.parse_args(words.split()).user for words in commands} == {"USER"}
    assert len(commands) == 2
    assert set(re.findall(r"plugin\.xtnd\.(\w+)", text)) == {"xmit", "sendmail"} <= XtndSettings.model_fields.keys()
    assert re.findall(r"login\.(\w+)", text) == ["apop"]
    assert "apop" in LoginSettings.model_fields


def test_bulletins_and_statistics_are_plugins(tmp_path: Path) -> None:
    """Listed when they are installed; otherwise left out, and that is told."""
    given = qpopper.read_command_line(["-s", "-b", "/bulls"])
    settings = imported(given, tmp_path)
    plan = qpopper.translated(given, {"auth_shadow", "store_mbox"})

    assert settings["plugins"] == ["auth_shadow", "store_mbox", "bulletin", "session_stats"]
    assert settings["plugin"]["bulletin"] == {"folder": "/bulls"}
    assert settings["plugin"]["session_stats"] == {"record": "popper", "listen": ""}
    assert plan.plugins == ["auth_shadow", "store_mbox"]
    assert plan.left_out == [
        "-b /bulls (command line): needs the plugin bulletin: pip install popframe-bulletin",
        "-s (command line): needs the plugin session_stats: pip install popframe-session-stats",
    ]
    imported(given, tmp_path, installed={"auth_shadow", "store_mbox"})


def test_tls_on_a_port_of_its_own_and_by_stls(tmp_path: Path) -> None:
    """With the certificate; without one it is a mistake, since passwords would go in clear text."""
    (tmp_path / "pem").write_bytes(trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.bytes())
    certificate = f"set tls-server-cert-file = {tmp_path}/pem\n"
    alternate = imported(from_file(tmp_path, f"{certificate}set tls-support = alternate-port"), tmp_path)
    stls = imported(from_file(tmp_path, f"{certificate}set tls-support = stls"), tmp_path)
    none = imported(from_file(tmp_path, certificate), tmp_path)
    with pytest.raises(qpopper.BadInput, match="needs tls-server-cert-file, which is not set"):
        imported(from_file(tmp_path, "set tls-support = stls"), tmp_path)

    assert (alternate["server"]["listen"], alternate["server"]["listen_tls"]) == ([], ["0.0.0.0:995", "[::]:995"])
    assert stls["server"]["listen"] == ["0.0.0.0:110", "[::]:110"]
    assert stls["tls"] == alternate["tls"] == {"certificate": f"{tmp_path}/pem"}
    assert "tls" not in none


def test_lists_of_users_are_read(tmp_path: Path) -> None:
    """A list that cannot be read is a mistake: without it more would be let in."""
    (tmp_path / "users").write_text("alice\nbob # a friend\n\n# nobody\nalice\n")
    text = f"set auth-file = {tmp_path}/users\nset nonauth-file = {tmp_path}/users\n"
    settings = imported(from_file(tmp_path, text), tmp_path)["login"]
    (tmp_path / "users").unlink()
    with pytest.raises(qpopper.BadInput, match="cannot be read") as caught:
        imported(from_file(tmp_path, text), tmp_path)

    assert settings["allow_users"] == settings["deny_users"] == ["alice", "bob"]
    assert [
        mistake.startswith(f"{tmp_path}/qpopper.conf:{line}: ") for line, mistake in enumerate(caught.value.mistakes, 1)
    ]
    assert len(caught.value.mistakes) == 2


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("set timeout = 90000", "timeout: must be a number from 0 to 86400 (seconds), not 90000"),
        ("set announce-login-delay = 90000", "must be a number from 0 to 86400, not 90000"),
        ("set bulldir = bulls", "bulldir: 'bulls' is relative; right would be the whole path"),
        ("set tracefile = trace", "tracefile: 'trace' is relative; right would be the whole path"),
    ],
)
def test_values_that_nothing_can_take_are_mistakes(line: str, mistake: str, tmp_path: Path) -> None:
    """With file and line."""
    with pytest.raises(qpopper.BadInput) as caught:
        qpopper.translated(from_file(tmp_path, line), INSTALLED)

    assert mistake in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/qpopper.conf:1: ")


def test_an_end_of_debugging_ends_the_trace_too(tmp_path: Path) -> None:
    """As Qpopper closes the file then."""
    settings = imported(from_file(tmp_path, "set tracefile = /t\nreset debug\n"), tmp_path)

    assert "trace" not in settings


def test_no_secret_gets_into_a_comment(tmp_path: Path) -> None:
    """The passphrase of a key is not repeated."""
    text = qpopper.toml(qpopper.translated(from_file(tmp_path, 'set tls-passphrase = "xyzzy"'), INSTALLED))

    assert "xyzzy" not in text
    assert "tls-passphrase" in text


def test_no_value_breaks_the_file(tmp_path: Path) -> None:
    """Quotes, backslashes, and characters beyond ASCII."""
    given = from_file(tmp_path, "set spool-dir = '/a\"b\\\\c\x7f ä😀#d'\nset drac-host = '\x1b[2J'\n")
    text = qpopper.toml(qpopper.translated(given, INSTALLED))

    assert tomllib.loads(text)["plugin"]["store_mbox"]["spool_dir"] == '/a"b\\\\c\x7f ä😀#d'
    assert "\x1b" not in text


# --- who starts it


INETD = """\
# pop3 stream tcp nowait root /usr/sbin/popper popper -T 1
ftp stream tcp nowait root /usr/sbin/ftpd ftpd
pop-3 stream tcp nowait root /usr/sbin/tcpd /usr/local/lib/popper -s -T 600
"""

XINETD = """\
service pop3
{
        disable         = no
        user            = root
        server          = /usr/local/libexec/qpopper
        server_args     = -s -p 1
}
service smtp
{
        server          = /usr/sbin/smtpd
}
"""


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (qpopper.read_inetd_conf, INETD, ("-s", "-T", "600")),
        (qpopper.read_inetd_conf, "pop stream tcp nowait root /usr/etc/popper popper\n", ()),
        (qpopper.read_xinetd, XINETD, ("-s", "-p", "1")),
    ],
)
def test_the_line_that_starts_it_is_found(
    read: Callable[[Path, str | None], qpopper.Invocation], text: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    """Behind tcpd as well; the port is that of the service."""
    (tmp_path / "file").write_text(text)
    found = read(tmp_path / "file", None)

    assert (found.words, found.port) == (words, 110)
    assert imported(qpopper.read_command_line(found.words), tmp_path, port=109)["server"]["listen"][0] == "0.0.0.0:109"


@pytest.mark.parametrize(
    ("text", "service", "mistake"),
    [
        ("", None, "no line starts a popper"),
        (INETD, "pop3s", "no line starts a popper for pop3s (found: pop-3)"),
        (INETD + INETD, None, "several lines start a popper (pop-3, pop-3); choose one with --service"),
        ("nonsense stream tcp nowait root /popper popper", None, "this machine knows no service 'nonsense'"),
    ],
)
def test_a_line_that_is_not_the_one_is_told(text: str, service: str | None, mistake: str, tmp_path: Path) -> None:
    """With what there is."""
    (tmp_path / "inetd.conf").write_text(text)
    with pytest.raises(qpopper.BadInput, match=re.escape(mistake)):
        qpopper.read_inetd_conf(tmp_path / "inetd.conf", service)
