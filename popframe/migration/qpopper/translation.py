"""From what a site has set to what it is called here.

Rule of this file: each option that Qpopper knows has a rule, and each rule says what comes of it. A site that has set
nothing gets what Qpopper does by default, where that is another thing than here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from popframe.config.abuse import MAX_LOGIN_DELAY_SECONDS
from popframe.config.settings import AUTOLOGOUT_SECONDS, MAX_TIMEOUT_SECONDS
from popframe.migration.qpopper.command_line import ADDRESS, UNKNOWN_MEANING
from popframe.migration.qpopper.config_file import names_in
from popframe.migration.qpopper.given import BadInput, Given
from popframe.migration.qpopper.listening import set_listening
from popframe.migration.qpopper.plan import DEFAULT, Plan

Rule = Callable[[Plan, Given], None]

MOST_OLD_BULLETINS = 1000
"""More no user wants to find at the first login; the plugin's own limit."""

STORE, BULLETIN, STATISTICS = "plugin.store_mbox", "plugin.bulletin", "plugin.session_stats"

OPTIONAL = {BULLETIN: "bulletin", STATISTICS: "session_stats"}
"""Plugins that are used when they are wanted, if they are installed."""

CLEAR_TEXT = {
    "default": ("always", "Qpopper takes passwords without TLS from everybody who has no APOP password"),
    "always": ("always", ""),
    "never": ("never", "under TLS they are taken"),
    "TLS": ("never", "without TLS, that is"),
    "SSL": ("never", "without TLS, that is"),
    "local": ("local", ""),
}


APOP = (
    "APOP, if there is a database of popauth (often /etc/pop.auth) with users in it: their passwords are not taken "
    "over. Give these users a password of the machine; or list auth_file before auth_shadow, and give each of them a "
    "line with uid= and gid= in its file. 'popframe passwd --scram FILE USER' puts in what SCRAM needs, and suits "
    "where nobody logs in with a password of the machine besides, since clients that see SCRAM try nothing else; "
    "'popframe passwd --scheme plain FILE USER', with login.apop = true, is for a client that knows nothing but APOP"
)
XMIT = (
    "the plugin xtnd with plugin.xtnd.xmit = true, and plugin.xtnd.sendmail for another mail program; whoever finds "
    "out a password can send mail then"
)


def translated(given: Sequence[Given], installed: Collection[str], *, port: int | None = None) -> Plan:
    """Translate.

    Args:
        given: Everything that was set, in its order; of two for one option the later counts.
        installed: Names of the plugins that there are.
        port: Where inetd or xinetd listens for it; None when nobody has said.

    Raises:
        BadInput: Something contradicts itself, or a list of users cannot be read.
    """
    effective = _effective(given)
    plan = Plan(["auth_shadow", "store_mbox"])
    _begin(plan)
    mistakes: list[str] = []
    for one in effective.values():
        try:
            RULES[one.name](plan, one)
        except ValueError as error:
            mistakes.append(f"{one.origin}: {one.name}: {error}")
        except BadInput as error:
            mistakes += [f"{one.origin}: {one.name}: {mistake}" for mistake in error.mistakes]
    try:
        set_listening(plan, effective, port)
    except ValueError as error:
        mistakes.append(str(error))
    if mistakes:
        raise BadInput(mistakes)
    _add_plugins(plan, effective, installed)
    return plan


def _effective(given: Iterable[Given]) -> dict[str, Given]:
    """Return what counts; where debugging ends, so does what goes to a file for it."""
    effective: dict[str, Given] = {}
    for one in given:
        effective[one.name] = one
        if one.name == "debug" and not one.value:
            effective.pop("tracefile", None)
    return effective


def _begin(plan: Plan) -> None:
    """Set what Qpopper does without being told."""
    plan.set("server", "isolation", "per-user", "as Qpopper", "each session becomes its user")
    plan.set(
        "server", "run_as", "nobody", "whom the processes become that talk to clients", "choose one that owns nothing"
    )
    plan.set("server", "look_up_client_names", True, DEFAULT)
    plan.set("login", "clear_text", "always", DEFAULT, CLEAR_TEXT["default"][1])
    plan.set("login", "min_uid", 11, "Qpopper refuses user ids up to 10", "1000 is popframe's own default")
    plan.set("pop3", "update_on_abort", True, DEFAULT, "against RFC 1939; popframe's own default is false")
    plan.set("log", "target", "syslog", "as Qpopper")
    plan.set("log", "syslog_facility", "mail", DEFAULT, "on Linux; local0 elsewhere, and before version 4")
    plan.set("log", "syslog_priority", "notice", "as Qpopper")
    plan.set("log", "refused_replies", True, "as Qpopper", "every -ERR is in the log")
    plan.set(STORE, "spool_dir", "/var/mail", DEFAULT, "or what was compiled in")
    plan.set(STORE, "uidl", "x-uidl", "what Qpopper has written counts", "so that no client gets its mail again")
    plan.set(STORE, "status_headers", "popper", DEFAULT)
    plan.unknown += [APOP, f"XTND XMIT, if users send mail by it: {XMIT}"]


# --- kinds of rules


def _sets(table: str, key: str, remark: str = "", *, most: int | None = None) -> Rule:
    """Set the same value.

    Args:
        table: Where.
        key: What.
        remark: What to know of it.
        most: The largest number that there may be.
    """

    def rule(plan: Plan, given: Given) -> None:
        if most is not None and int(given.value) > most:
            raise ValueError(f"must be a number from 0 to {most}, not {given.value}")
        plan.set(table, key, given.value, given, remark)

    return rule


def _sets_path(table: str, key: str, remark: str = "") -> Rule:
    """Set the same path; a relative one would start elsewhere."""

    def rule(plan: Plan, given: Given) -> None:
        plan.set(table, key, _absolute(given), given, remark)

    return rule


def _absolute(given: Given) -> str:
    """Return a path.

    Raises:
        ValueError: It is a relative one.
    """
    if not str(given.value).startswith("/"):
        raise ValueError(f"{given.value!r} is relative; right would be the whole path")
    return str(given.value)


def _needs_nothing(why: str) -> Rule:
    return lambda plan, given: plan.note(given, why)


def _has_no_equal(why: str) -> Rule:
    return lambda plan, given: plan.leave_out(given, why)


def _has_no_equal_when(value: object, why: str) -> Rule:
    """Leave out what has this value; any other one is what is done here in any case."""

    def rule(plan: Plan, given: Given) -> None:
        if given.value == value:
            plan.leave_out(given, why)
        else:
            plan.note(given, "it is so")

    return rule


# --- rules of their own


def _timeout(plan: Plan, given: Given) -> None:
    seconds = int(given.value) or MAX_TIMEOUT_SECONDS
    if seconds > MAX_TIMEOUT_SECONDS:
        raise ValueError(f"must be a number from 0 to {MAX_TIMEOUT_SECONDS} (seconds), not {seconds}")
    if seconds < AUTOLOGOUT_SECONDS:
        remark = f"RFC 1939 wants {AUTOLOGOUT_SECONDS} seconds at least"
        plan.set("server", "allow_short_idle_timeout", True, given, remark)
    plan.set("server", "idle_timeout_seconds", seconds, given, "" if given.value else "never, which is a day here")


def _clear_text(plan: Plan, given: Given) -> None:
    value, remark = CLEAR_TEXT[str(given.value)]
    plan.set("login", "clear_text", value, given, remark)
    if given.value == "never":
        why = "users have logged in by APOP or Kerberos; what to do for those of APOP stands at the end of the file"
        plan.leave_out(given, why)


def _status_headers(plan: Plan, given: Given) -> None:
    plan.set(STORE, "status_headers", "popper" if given.value else "keep", given)


def _private_copy(plan: Plan, given: Given) -> None:
    remark = "the mail moves to .NAME.pop for the session; false is safer, and what server-mode = true was"
    if given.value:
        plan.note(given, "mail is read in its spool and removed in place, always")
    else:
        plan.set(STORE, "private_copy", True, given, remark)


def _shy(plan: Plan, given: Given) -> None:
    plan.set("pop3", "show_implementation", "never" if given.value else "always", given, "the greeting has no version")


def _debug(plan: Plan, given: Given) -> None:
    if given.value:
        plan.set("trace", "all_sessions", True, given, "without passwords; into the log, unless there is a file")
    else:
        plan.note(given, "no session is traced")


def _tracefile(plan: Plan, given: Given) -> None:
    plan.set("trace", "all_sessions", True, given)
    remark = "run_as must be able to make it; the lines of the log stay in the log"
    plan.set("trace", "file", _absolute(given), given, remark)


def _allowed(plan: Plan, given: Given) -> None:
    names = list(dict.fromkeys(names_in(Path(str(given.value)))))
    if not names:
        raise ValueError(f"{given.value} names nobody, so that nobody could log in")
    plan.set("login", "allow_users", names, given, "what is written into that file later is not noticed")


def _denied(plan: Plan, given: Given) -> None:
    names = list(dict.fromkeys(names_in(Path(str(given.value)))))
    plan.set("login", "deny_users", names, given, "what is written into that file later is not noticed")


def _tls_version(plan: Plan, given: Given) -> None:
    if given.value in {"default", "all", "SSLv23"}:
        plan.note(given, "TLS 1.2 and later are spoken")
    else:
        plan.leave_out(given, "TLS 1.2 and later are spoken, nothing older")


def _log_login(plan: Plan, given: Given) -> None:
    plan.leave_out(given, "every login has a line 'login' in the log, with user and address; its form cannot be chosen")


def _hash_spool(plan: Plan, given: Given) -> None:
    if given.value:
        plan.leave_out(given, "spools are looked for in spool_dir itself; move them there, or name them by account")
    else:
        plan.note(given, "spools are in spool_dir itself")


def _home_directory(plan: Plan, given: Given) -> None:
    plan.leave_out(given, "no plugin gives accounts of the machine a spool in their home directories")


def _address(plan: Plan, given: Given) -> None:
    """Leave it to :func:`set_listening`."""


def _by_a_plugin(plan: Plan, given: Given) -> None:
    """Leave it to :func:`_add_plugins`."""


_TEMPORARY = (
    "there are no temporary files; but mail that Qpopper has left in such a file is found only beside the spool: let "
    "each of these users log in and out with Qpopper once, or append the files to the spools"
)

RULES: Mapping[str, Rule] = {
    ADDRESS: _address,
    UNKNOWN_MEANING: _has_no_equal("Qpopper lists it without saying what it is for"),
    "announce-expire": _has_no_equal("nothing is removed by age, and CAPA says EXPIRE NEVER"),
    "announce-login-delay": _sets(
        "abuse", "login_delay_seconds", "announced, and kept to as well; not under inetd", most=MAX_LOGIN_DELAY_SECONDS
    ),
    "auth-file": _allowed,
    "auto-delete": _has_no_equal_when(True, "only what a client marks is removed"),
    "bulldb-max-tries": _needs_nothing("there is no database of bulletins"),
    "bulldb-nonfatal": _needs_nothing("there is no database of bulletins, and none of their troubles stops a login"),
    "bulldir": _sets_path(BULLETIN, "folder"),
    "cache-dir": _needs_nothing("store_mbox keeps its index beside the spool, or in plugin.store_mbox.state_dir"),
    "cache-name": _needs_nothing("the index of NAME is .NAME.popframe-index"),
    "check-hash-dir": _needs_nothing("there are no hashed spool directories"),
    "check-old-spool-loc": _needs_nothing(
        "what Qpopper has left in .NAME.pop beside the spool is merged at the next login"
    ),
    "check-password-expired": _has_no_equal_when(False, "an expired password is refused"),
    "chunky-writes": _needs_nothing("replies are sent in large pieces, with TLS and without"),
    "clear-text-password": _clear_text,
    "debug": _debug,
    "downcase-user": _has_no_equal_when(True, "names of users are compared as they are"),
    "drac-host": _has_no_equal("no mail server is told of logins; let clients authenticate there"),
    "fast-update": _needs_nothing("only what changes in a spool is written, in place"),
    "group-bulletins": _sets(BULLETIN, "group_bulletins"),
    "group-no-server-mode": _needs_nothing("mail is read in its spool and removed in place, for everybody"),
    "group-server-mode": _needs_nothing("mail is read in its spool and removed in place, for everybody"),
    "hash-spool": _hash_spool,
    "home-dir-mail": _home_directory,
    "keep-temp-drop": _needs_nothing("there is no temporary file"),
    "kerberos": _has_no_equal_when(True, "there is no Kerberos; auth_pam can check a password with it"),
    "kerberos-service": _has_no_equal("there is no Kerberos; auth_pam can check a password with it"),
    "log-facility": _sets("log", "syslog_facility"),
    "log-login": _log_login,
    "mail-command": _has_no_equal(f"XTND XMIT is {XMIT}"),
    "mail-lock-check": _needs_nothing("no lock that a mail agent needs is held while a client thinks"),
    "max-bulletins": _sets(BULLETIN, "max_old_bulletins", most=MOST_OLD_BULLETINS),
    "no-atomic-open": _has_no_equal_when(True, "a dot-lock is made so that nobody else can make it"),
    "nonauth-file": _denied,
    "old-style-uid": _has_no_equal_when(
        True, "what stands in X-UIDL counts; a message without it gets a new unique-id"
    ),
    "reverse-lookup": _sets("server", "look_up_client_names"),
    "server-mode": _private_copy,
    "shy": _shy,
    "spool-dir": _sets_path(STORE, "spool_dir"),
    "spool-options": _has_no_equal_when(True, "there are no settings for single users"),
    "statistics": _by_a_plugin,
    "temp-dir": _has_no_equal(_TEMPORARY),
    "temp-name": _has_no_equal(_TEMPORARY),
    "timeout": _timeout,
    "timing": _needs_nothing("'session-ended' in the log has the seconds of the session"),
    "tls-cipher-list": _has_no_equal("an old list is not safe any more; see tls.ciphers, for TLS 1.2 alone"),
    "tls-identity-file": _has_no_equal("write certificate and key into files in PEM form: tls.certificate, tls.key"),
    "tls-options": _has_no_equal("OpenSSL is set up by popframe"),
    "tls-passphrase": _has_no_equal("the key must have no passphrase: openssl pkey -in OLD -out NEW"),
    "tls-private-key-file": _sets_path("tls", "key"),
    "tls-server-cert-file": _sets_path("tls", "certificate"),
    "tls-support": _needs_nothing("see server.listen, server.listen_tls and [tls]"),
    "tls-version": _tls_version,
    "tls-workarounds": _needs_nothing("OpenSSL is set up by popframe"),
    "tracefile": _tracefile,
    "trim-domain": _has_no_equal_when(True, "a client has to send the name without a domain"),
    "update-on-abort": _sets("pop3", "update_on_abort", "true is against RFC 1939 section 6"),
    "update-status-headers": _status_headers,
    "user-options": _has_no_equal_when(True, "there are no settings for single users"),
    "UW-kludge": _needs_nothing("the message in which IMAP servers keep their own is never shown"),
    "UW-kluge": _needs_nothing("the message in which IMAP servers keep their own is never shown"),
}
"""By name of the option what comes of it."""


def _add_plugins(plan: Plan, effective: Mapping[str, Given], installed: Collection[str]) -> None:
    """List the plugins that are wanted and there; leave out what was wanted of the others."""
    statistics = effective.get("statistics")
    if statistics is not None and statistics.value:
        plan.set(STATISTICS, "record", "popper", statistics, "popper's line 'Stats:'")
        plan.set(STATISTICS, "listen", "", "no metrics are served", "see the plugin's description")
    elif statistics is not None:
        plan.note(statistics, "'session-ended' in the log has the numbers in any case")
    wanted = {"bulldir", "group-bulletins", "max-bulletins"} & effective.keys()
    if wanted and "bulldir" not in effective:
        for name in sorted(wanted):
            plan.note(effective[name], "without bulldir there are no bulletins")
        plan.tables.pop(BULLETIN)
    for table, name in OPTIONAL.items():
        if table not in plan.tables:
            continue
        if name in installed:
            plan.plugins.append(name)
            continue
        plan.tables.pop(table)
        of_it = {"bulldir", "group-bulletins", "max-bulletins"} if table == BULLETIN else {"statistics"}
        for option in sorted(of_it & effective.keys()):
            plan.leave_out(effective[option], f"needs the plugin {name}: pip install popframe-{name.replace('_', '-')}")
