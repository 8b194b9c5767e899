"""A real server, a real website of the issuer, and real clients."""

from __future__ import annotations

import json
import os
import poplib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from popframe.testing import MailSite, ServerProcess

from .issuer import BAD_TOKENS, OTHER_RSA_KEY, USERNAME, Website, claims, key_set, public, token
from .oauth_site import HASH, HOST, OTHER_USERNAME, REFUSAL, OauthSite, bearer, challenge, log_in, xoauth2

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a server that becomes each user")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture(params=["shared", pytest.param("per-user", marks=needs_root)])
def site(request: pytest.FixtureRequest) -> Iterator[OauthSite]:
    """Yield a site with either isolation."""
    with MailSite({}) as made:
        yield OauthSite(made, request.param)


@pytest.fixture
def server(site: OauthSite, website: Website) -> ServerProcess:
    """Return a running server."""
    site.configure(website)
    return site.site.start()


@pytest.mark.parametrize("make", [bearer, xoauth2], ids=["OAUTHBEARER", "XOAUTH2"])
def test_token_opens_the_mail_of_its_user(site: OauthSite, server: ServerProcess, make: object) -> None:
    """A-072, A-078: with an initial response and without, and a session is like any other."""
    name = "OAUTHBEARER" if make is bearer else "XOAUTH2"
    message = bearer(token()) if make is bearer else xoauth2(token())
    with site.connect(server) as client:
        assert client.ask(f"AUTH {name} {message}").startswith(b"+OK")
        assert client.ask("STAT") == b"+OK 1 32\r\n"
        client.ask("QUIT")
    with site.connect(server) as client:
        assert client.ask(f"AUTH {name}") == b"+ \r\n"
        assert client.ask(message).startswith(b"+OK")
        client.ask("DELE 1")
        assert client.ask("QUIT").startswith(b"+OK")

    assert site.site.spool(USERNAME).read_bytes() == b""
    server.wait_for_log(f"user={USERNAME}")


def test_mechanisms_are_offered_under_tls_alone(site: OauthSite, server: ServerProcess) -> None:
    """A-071: not in clear text, not even on this machine (RFC 7628 section 3)."""
    context = ssl.create_default_context(cafile=site.authority_path)
    client = poplib.POP3(*server.addresses[0])
    offered = client.capa().get("SASL", [])
    assert not {"OAUTHBEARER", "XOAUTH2"} & set(offered)
    with pytest.raises(poplib.error_proto, match="-ERR"):
        client._shortcmd(f"AUTH OAUTHBEARER {bearer(token())}")  # type: ignore[attr-defined]
    client.stls(context)
    assert {"OAUTHBEARER", "XOAUTH2"} <= set(client.capa()["SASL"])
    reply = client._shortcmd(f"AUTH OAUTHBEARER {bearer(token())}")  # type: ignore[attr-defined]
    client.quit()

    assert reply.startswith(b"+OK")


def test_bad_token_is_told_and_refused(site: OauthSite, server: ServerProcess) -> None:
    """A-073, A-077, H-045: by both mechanisms, with both ends; and the next login of the session may be right."""
    refused = {kind: make() for kind, make in BAD_TOKENS.items()}
    for kind, octets in refused.items():
        with site.connect(server) as client:
            for name, message, dummy in (("OAUTHBEARER", bearer(octets), "AQ=="), ("XOAUTH2", xoauth2(octets), "")):
                status = json.loads(challenge(client.ask(f"AUTH {name} {message}")))["status"]
                assert status == ("invalid_token" if name == "OAUTHBEARER" else "401"), kind
                assert client.ask(dummy) == REFUSAL, kind
            assert log_in(client, token()).startswith(b"+OK"), kind
            client.ask("QUIT")

    log = server.log()
    failures = [line for line in log.splitlines() if " login-failed " in line]
    assert len(failures) == 2 * len(BAD_TOKENS)
    assert all(f" user={USERNAME} " in line for line in failures)
    assert log.count("its signature is wrong") == log.count("it has expired") == 2
    assert not any(part in log for octets in refused.values() for part in octets.decode().split(".") if part)


def test_refused_exchange_may_be_cancelled(site: OauthSite, server: ServerProcess) -> None:
    """A-073: a refused exchange ends in a refusal also where the client says ``*``, and the log has the reason."""
    with site.connect(server) as client:
        challenge(client.ask(f"AUTH OAUTHBEARER {bearer(BAD_TOKENS['expired']())}"))
        assert client.ask("*") == REFUSAL
        assert log_in(client, token()).startswith(b"+OK")
        client.ask("QUIT")

    assert "it has expired" in server.log()


def test_token_opens_nobody_elses_mail(site: OauthSite, server: ServerProcess) -> None:
    """A-077: a name beside the token counts only where it is the token's."""
    with site.connect(server) as client:
        assert log_in(client, token(), OTHER_USERNAME) == REFUSAL
        assert client.ask(f"AUTH XOAUTH2 {xoauth2(token(), OTHER_USERNAME)}") == REFUSAL
        assert log_in(client, token(claims(email=OTHER_USERNAME)), OTHER_USERNAME).startswith(b"+OK")
        client.ask("QUIT")


def test_master_user_opens_it(site: OauthSite, website: Website) -> None:
    """A-077: where the site says so."""
    site.configure(website, more=f'[login]\nmaster_users = ["{USERNAME}"]\n')
    server = site.site.start()
    with site.connect(server) as client:
        assert log_in(client, token(), OTHER_USERNAME).startswith(b"+OK")
        assert client.ask("STAT") == b"+OK 0 0\r\n"
        client.ask("QUIT")

    server.wait_for_log(f"user={OTHER_USERNAME}")


def test_locked_user_is_not_let_in_by_a_token(site: OauthSite, server: ServerProcess) -> None:
    """Whose account is closed says the plugin that has it, and so does whose does not exist."""
    users = site.site.directory / "users"
    users.write_text(f"{USERNAME}:!{users.read_text().partition(HASH)[2]}")
    with site.connect(server) as client:
        assert log_in(client, token()) == REFUSAL
        assert log_in(client, token(claims(email="carol@example.org"))) == REFUSAL
        client.ask("QUIT")

    assert "no plugin knows an account 'carol@example.org'" in server.log()


def test_whoever_has_a_token_has_an_account_where_the_site_wants_that(site: OauthSite, website: Website) -> None:
    """Without any other plugin for accounts; virtual users, so that a session of a user's own has nobody to be."""
    site.configure(website, "accept_unknown_accounts = true\n", plugins=("auth_oauth", "store_mbox"))
    server = site.site.start()
    with site.connect(server) as client:
        reply = log_in(client, token(claims(email="carol@example.org")), "carol@example.org")
        client.ask("QUIT")

    assert reply.startswith(b"+OK" if site.isolation == "shared" else b"-ERR [SYS/PERM]")


def test_host_and_port_are_compared(site: OauthSite, server: ServerProcess) -> None:
    """A-074: with the name that the client asked for by TLS, and the port that it came to."""
    port = server.tls_addresses[0][1]
    with site.connect(server) as client:
        for more in ("host=evil.example\x01", f"port={port + 1}\x01"):
            line = client.ask(f"AUTH OAUTHBEARER {bearer(token(), more=more)}")
            assert json.loads(challenge(line)) == {"status": "invalid_request"}
            assert client.ask("AQ==") == REFUSAL
        right = bearer(token(), more=f"host={HOST}\x01port={port}\x01")
        assert client.ask(f"AUTH OAUTHBEARER {right}").startswith(b"+OK")
        client.ask("QUIT")


# --- keys ---------------------------------------------------------------------------------------------------------


def test_keys_are_fetched_once_for_all_logins(site: OauthSite, server: ServerProcess, website: Website) -> None:
    """By whichever process they are: threads of fronts, or a child of the gate for each."""
    for _ in range(10):
        with site.connect(server) as client:
            assert log_in(client, token()).startswith(b"+OK")
            client.ask("QUIT")
        with site.connect(server) as client:
            assert log_in(client, BAD_TOKENS["unknown key"]()) == REFUSAL

    assert website.paths == ["/keys"]


def test_rotated_keys_count_while_the_server_runs(site: OauthSite, website: Website) -> None:
    """A token by a new key makes the server look; one by a withdrawn key is refused afterwards."""
    site.configure(website, "refetch_seconds = 1\n")
    server = site.site.start()
    by_new_key = token(key=OTHER_RSA_KEY, kid="k2")
    with site.connect(server) as client:
        assert log_in(client, token()).startswith(b"+OK")
        client.ask("QUIT")
    website.document = key_set(public(OTHER_RSA_KEY, "k2"))
    time.sleep(1.1)
    with site.connect(server) as client:
        assert log_in(client, by_new_key).startswith(b"+OK")
        client.ask("QUIT")
    with site.connect(server) as client:
        assert log_in(client, token()) == REFUSAL

    assert len(website.paths) == 2


def test_keys_that_cannot_be_had_are_a_failure_for_now(site: OauthSite, website: Website) -> None:
    """Without keys nobody gets in, and nobody is told to throw a token away; old keys stay good."""
    site.configure(website, "refetch_seconds = 1\ncache_seconds = 1\n")
    server = site.site.start()
    website.status = 503
    with site.connect(server) as client:
        assert log_in(client, token()).startswith(b"-ERR [SYS/TEMP]")
    website.status = 200
    time.sleep(1.1)
    with site.connect(server) as client:
        assert log_in(client, token()).startswith(b"+OK")
        client.ask("QUIT")
    website.status = 503
    time.sleep(1.1)
    with site.connect(server) as client:
        assert log_in(client, token(key=OTHER_RSA_KEY, kid="k2")).startswith(b"-ERR [SYS/TEMP]")
        assert log_in(client, token()).startswith(b"+OK")
        client.ask("QUIT")

    assert "those from before stay in use" in server.log()
    assert token().decode() not in server.log()


def test_settings_and_keys_count_after_a_reload(site: OauthSite, website: Website) -> None:
    """SIGHUP begins anew, with the keys too."""
    site.configure(website)
    server = site.site.start()
    with site.connect(server) as client:
        assert log_in(client, token()).startswith(b"+OK")
        client.ask("QUIT")
    website.document = key_set(public(OTHER_RSA_KEY, "k2"))
    text = site.site.configuration.read_text()
    site.site.configuration.write_text(text.replace("jwks_url", 'required_scopes = ["mail"]\njwks_url'))
    before = server.fronts()
    server.reload()
    for _ in server.until("the end of those that were there before"):
        if not set(before) & set(server.fronts()):
            break
    with site.connect(server) as client:
        line = client.ask(f"AUTH OAUTHBEARER {bearer(token(claims(scope='x'), key=OTHER_RSA_KEY, kid='k2'))}")
        assert json.loads(challenge(line)) == {"status": "insufficient_scope", "scope": "mail"}
        assert client.ask("AQ==") == REFUSAL
        assert log_in(client, token(key=OTHER_RSA_KEY, kid="k2")).startswith(b"+OK")
        client.ask("QUIT")

    assert len(website.paths) == 2


def test_keys_in_a_file_serve_a_session_under_inetd(site: OauthSite, website: Website) -> None:
    """Where each session is a server of its own, nothing has to be fetched."""
    path = site.site.directory / "keys.json"
    path.write_bytes(key_set())
    path.chmod(0o644)
    site.configure(website, "require_tls = false\n")
    text = site.site.configuration.read_text().replace(f'jwks_url = "{website.url}"', f'jwks_file = "{path}"')
    site.site.configuration.write_text(text)
    command = [sys.executable, "-m", "popframe", "inetd", "--config", str(site.site.configuration)]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        with socket.create_connection(listener.getsockname()) as client, client.makefile("rb") as lines:
            connection, _ = listener.accept()
            with connection, (site.site.directory / "log").open("wb") as log:
                process = subprocess.Popen(command, stdin=connection.fileno(), stdout=log, stderr=log)
            assert lines.readline().startswith(b"+OK")
            client.sendall(f"AUTH OAUTHBEARER {bearer(token())}\r\nSTAT\r\nQUIT\r\n".encode())
            replies = lines.read()
            process.wait(20)

    assert b"\r\n+OK 1 32\r\n+OK" in replies, (site.site.directory / "log").read_text()
    assert website.paths == []


@needs_root
def test_fetched_keys_are_out_of_reach_of_fronts_and_sessions(website: Website) -> None:
    """Whoever could write them could log in as anybody; only master and gate, which are root, can."""
    with MailSite({}) as made:
        site = OauthSite(made, "per-user")
        site.configure(website)
        server = made.start()
        with site.connect(server) as client:
            assert log_in(client, token()).startswith(b"+OK")
            processes = [server.pid, *server.fronts()]
            (session,) = [pid for pid in _children_of(processes[1:]) if _uid_of(pid) == site.uids[USERNAME]]
            places = {pid: _descriptors_of_keys(pid) for pid in processes}
            assert all(len(found) == 1 and found[0] & os.O_PATH for found in places.values())
            assert _descriptors_of_keys(session) == []
            client.ask("QUIT")


def _children_of(pids: list[int]) -> list[int]:
    paths = [Path(f"/proc/{pid}/task/{pid}/children") for pid in pids]
    return [int(child) for path in paths for child in path.read_text().split()]


def _uid_of(pid: int) -> int:
    return int(re.findall(r"^Uid:\t(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[0])


def _numbers_of_keys(pid: int) -> list[str]:
    """Return the descriptors of a process that have to do with the shared keys."""
    folder = f"/proc/{pid}/fd"
    return [number for number in os.listdir(folder) if "popframe-keys" in os.readlink(f"{folder}/{number}")]


def _descriptors_of_keys(pid: int) -> list[int]:
    """Return the flags with which they were opened."""
    texts = [Path(f"/proc/{pid}/fdinfo/{number}").read_text() for number in _numbers_of_keys(pid)]
    return [int(re.findall(r"^flags:\t(\d+)", text, re.MULTILINE)[0], 8) for text in texts]


# --- clients ------------------------------------------------------------------------------------------------------


@needs_curl
def test_curl_fetches_a_message(site: OauthSite, server: ServerProcess) -> None:
    """A-072, A-078: a client that others have written, in one step and in two; it also says host and port."""
    port = server.tls_addresses[0][1]

    def fetch(mechanism: str, octets: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
        command = ["curl", "--silent", "--show-error", "--max-time", "20", "--cacert", str(site.authority_path)]
        command += ["--login-options", f"AUTH={mechanism}", "--user", f"{USERNAME}:", *options]
        command += ["--oauth2-bearer", octets.decode(), f"pop3s://{HOST}:{port}/1"]
        return subprocess.run(command, capture_output=True, check=False)

    for mechanism in ("OAUTHBEARER", "XOAUTH2"):
        for options in ((), ("--sasl-ir",)):
            right, wrong = fetch(mechanism, token(), *options), fetch(mechanism, token(claims(exp=1)), *options)
            assert right.stdout == b"Subject: hello\r\n\r\nHow are you?\r\n", right.stderr
            assert wrong.returncode == 67, wrong.stderr


def test_poplib_logs_in_by_hand(site: OauthSite, server: ServerProcess) -> None:
    """As scripts do that were written for large providers."""
    context = ssl.create_default_context(cafile=site.authority_path)
    client = poplib.POP3_SSL(HOST, server.tls_addresses[0][1], context=context)
    reply = client._shortcmd(f"AUTH XOAUTH2 {xoauth2(token())}")  # type: ignore[attr-defined]
    lines = client.retr(1)[1]
    client.quit()

    assert reply.startswith(b"+OK")
    assert lines == [b"Subject: hello", b"", b"How are you?"]


def test_large_token_with_many_groups_is_taken(site: OauthSite, server: ServerProcess) -> None:
    """Providers put all of a user's groups into it; 100 KiB are refused (H-045)."""
    with site.connect(server) as client:
        assert log_in(client, token(claims(groups=[f"group-{number:032}" for number in range(250)]))).startswith(b"+OK")
        client.ask("QUIT")
    with site.connect(server) as client:
        client.send(b"AUTH OAUTHBEARER " + bearer(b"x" * 102_400).encode() + b"\r\n")
        assert client.line().startswith(b"-ERR")
