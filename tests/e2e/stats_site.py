"""What the tests of session_stats share: a server with the plugin, and the questions of Prometheus."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from popframe.testing import MailSite, RawClient, ServerProcess

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

TABLE = '[plugin.session_stats]\nlisten = "127.0.0.1:0"\n'

PLUGINS = ("auth_file", "store_mbox", "session_stats")

MODULE = b"popframe_session_stats.collector"

Samples = Mapping[str, float]


def configure(site: MailSite, more: str = "", server: str = "fronts = 4") -> None:
    """Let a site have the plugin."""
    site.configure(server, TABLE + more, plugins=PLUGINS)


def address_of(server: ServerProcess) -> str:
    """Return where a server's metrics are."""
    found = re.findall(r'text="metrics at (\S+)"', server.log())
    assert found, server.log()
    return str(found[-1])


def scrape(address: str, accept: str = OPENMETRICS) -> str:
    """Ask as Prometheus does."""
    request = urllib.request.Request(f"http://{address}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - an address of 127.0.0.1
        text: str = answer.read().decode()
    return text


def samples(address: str) -> Samples:
    """Return what Prometheus' own parsers find, which must be the same in both formats."""
    strict = _samples(parse_openmetrics(scrape(address)))  # type: ignore[no-untyped-call]
    assert strict.keys() == _samples(parse_text(scrape(address, "text/plain"))).keys()
    return strict


def _samples(families: object) -> dict[str, float]:
    assert hasattr(families, "__iter__")
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def samples_once(server: ServerProcess, condition: Callable[[Samples], bool]) -> Samples:
    """Return the samples as soon as something holds: a session is counted a moment after its end."""
    found: Samples = {}
    for _ in server.until(f"certain metrics, not {found}"):
        found = samples(address_of(server))
        if condition(found):
            return found
    raise AssertionError(found)


def collectors(server: ServerProcess) -> tuple[int, int]:
    """Return the process that starts collectors, and the collector."""
    (first,) = [pid for pid in server.fronts() if MODULE in Path(f"/proc/{pid}/cmdline").read_bytes()]
    for _ in server.until("a collector"):
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        if children:
            return first, int(children[0])
    raise AssertionError(first)


def read_and_quit(client: RawClient) -> None:
    """Read the first message of a session, remove it, and end the session."""
    assert client.ask("RETR 1").startswith(b"+OK")
    client.body()
    assert client.ask("TOP 2 0").startswith(b"+OK")
    client.body()
    client.ask("DELE 1")
    assert client.ask("QUIT").startswith(b"+OK")
    assert client.rest() == b""
