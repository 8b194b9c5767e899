"""What a connection costs a server that only waits for its client, in memory.

Usage: python -m benchmarks.connections [--count 500]

For each kind of connection a server of its own is started, some connections are opened so that all its threads and
imports are there, then many more; what is told is by how much the memory of its processes has grown (PSS, in which
shared pages are divided among those who share them), for each connection.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import trustme

from popframe.testing.client import RawClient
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite

WARM_UP = 50
SETTLE_SECONDS = 1.0

Opened = contextlib.AbstractContextManager[object]
"""A connection that is closed at the end."""


def main() -> None:
    """Measure, and write a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=500, help="connections of each kind")
    count = parser.parse_args().count
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    kinds: dict[str, Callable[[ServerProcess, int], Opened]] = {
        "greeted, in clear text": lambda server, _: RawClient(server.addresses[0]),
        "logged in, in clear text": lambda server, number: logged_in(RawClient(server.addresses[0]), number),
        "connected for TLS, silent": lambda server, _: socket.create_connection(server.tls_addresses[0]),
        "greeted, under TLS": lambda server, _: under_tls(server, context),
        "logged in, under TLS": lambda server, number: logged_in(under_tls(server, context), number),
    }
    sys.stdout.write("| connection | memory |\n|---|---|\n")
    for name, connect in kinds.items():
        octets = measured(connect, count, authority)
        sys.stdout.write(f"| {name} | {octets / 1024:.1f} KiB |\n")


def under_tls(server: ServerProcess, context: ssl.SSLContext) -> RawClient:
    """Return a client that was greeted under TLS."""
    return RawClient(server.tls_addresses[0], tls=context, server_name="localhost")


def logged_in(client: RawClient, number: int) -> RawClient:
    """Log a client in, each as another user."""
    reply = client.log_in(f"user{number}", "secret")
    if not reply.startswith(b"+OK"):
        raise SystemExit(f"no login: {reply!r}")
    return client


def measured(connect: Callable[[ServerProcess, int], Opened], count: int, authority: trustme.CA) -> float:
    """Return the octets of memory for each connection."""
    with (
        MailSite({f"user{number}": "secret" for number in range(count + WARM_UP)}) as site,
        tempfile.TemporaryDirectory(),
    ):
        issued = authority.issue_cert("localhost", common_name="localhost")
        (site.directory / "server.pem").write_bytes(issued.private_key_and_cert_chain_pem.bytes())
        site.configure(
            'listen_tls = ["127.0.0.1:0"]\nfronts = 1\nlogin_timeout_seconds = 600\nmax_connections = 5000\n'
            "max_connections_per_address = 5000\n",
            '[tls]\ncertificate = "server.pem"\nhandshake_timeout_seconds = 600\n'
            "[abuse]\nmax_connections_per_minute = 0\n",
        )
        server = site.start()
        with contextlib.ExitStack() as opened:
            for number in range(WARM_UP):
                opened.enter_context(connect(server, number))
            before = memory(server)
            for number in range(WARM_UP, WARM_UP + count):
                opened.enter_context(connect(server, number))
            after = memory(server)
        return (after - before) / count


def memory(server: ServerProcess) -> int:
    """Return the octets that all processes of a server have in memory, once they rest."""
    time.sleep(SETTLE_SECONDS)
    pids = [server.pid, *server.fronts()]
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return sum(int(number) for text in texts for number in re.findall(r"^Pss: +(\d+) kB", text, re.MULTILINE)) * 1024


if __name__ == "__main__":
    main()
