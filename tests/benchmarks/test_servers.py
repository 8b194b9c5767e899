"""The benchmark of servers still runs, and takes no wrong reply for work that was done."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.checkout

CHECKOUT = Path(__file__).resolve().parents[2]
SMALL = ("--rounds", "1", "--sessions", "3", "--megabytes", "1", "--messages", "250")

Module = Callable[[str], ModuleType]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Module:
    """Return a function that imports a module of the benchmark, which is not installed."""
    monkeypatch.syspath_prepend(str(CHECKOUT))
    return lambda name: importlib.import_module(f"benchmarks.servers.{name}")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can enter."""
    with tempfile.TemporaryDirectory(prefix="popframe-benchmark-test-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.mark.parametrize("count", [(), ("--proc",)], ids=["control-groups", "proc"])
def test_popframe_is_measured_when_it_is_alone(count: tuple[str, ...], folder: Path, tmp_path: Path) -> None:
    """A run with popframe alone gives times and memory, and leaves no file."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the benchmark makes namespaces")
    numbers = tmp_path / "numbers.json"
    command = [sys.executable, "-m", "benchmarks.servers", "--only", "popframe", "--work", "login,dele-half,memory"]

    done = subprocess.run(
        [*command, *SMALL, *count, "--folder", str(folder), "--json", str(numbers)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout
    login, dele, memory = (work["results"][0] for work in json.loads(numbers.read_text())["works"])
    assert login["wall_seconds"][0] > 0
    assert len(dele["cpu_seconds"]) == 1
    assert memory["whole_pss_octets"][0] > 1_000_000
    assert list(folder.iterdir()) == []


def test_cpu_time_of_a_process_that_has_ended_counts(module: Module) -> None:
    """A process that a server has started and waited for belongs to what the server cost."""
    child = "import time\nwhile time.process_time() < 0.2: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); print('waited'); input()"
    group = module("group").ProcessTree()
    command = group.command([sys.executable, "-uc", parent])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        group.started(process.pid)
        assert process.stdout is not None
        assert process.stdout.readline() == b"waited\n"

        seconds = group.settled_cpu_seconds()
        process.kill()

    assert seconds >= 0.15


@pytest.mark.parametrize(
    ("check", "replies"),
    [
        ("check_stat", [b"+OK 3 900\r\n"]),
        ("check_listings", [b"+OK\r\n1 400\r\n.\r\n", b"+OK\r\n1 a\r\n2 b\r\n.\r\n"]),
        ("check_listings", [b"+OK\r\n1 400\r\n2 400\r\n.\r\n", b"+OK\r\n1 a\r\n2 a\r\n.\r\n"]),
        ("check_listings", [b"+OK\r\n1 10\r\n2 10\r\n.\r\n", b"+OK\r\n1 a\r\n2 b\r\n.\r\n"]),
        ("check_retr", [b"+OK\r\nMessage-ID: <1@example.org>\r\n\r\ncut\r\n.\r\n"]),
    ],
    ids=["count", "listing-too-short", "same-unique-id", "size", "cut-message"],
)
def test_work_that_was_not_done_is_a_failure(module: Module, check: str, replies: list[bytes]) -> None:
    """A server that answers +OK with something else gets no number in the table."""
    spool = module("spool").Spool("two", 2, 400)

    with pytest.raises(module("client").Failure):
        getattr(module("work"), check)(replies, spool, 2)


def test_a_message_is_right_with_fields_that_the_server_added(module: Module) -> None:
    """Some servers write Status or X-UID into the header; the text must be whole all the same."""
    spool = module("spool").Spool("one", 1, 400)
    text = module("spool").header(1)[:-1] + b"Status: O\n\n" + spool.body
    reply = b"+OK\r\n" + text.replace(b"\n", b"\r\n") + b".\r\n"

    module("work").check_retr([reply], spool, 1)


def test_a_spool_has_the_messages_that_it_says(module: Module, tmp_path: Path) -> None:
    """What is left after a removal is found by the Message-ID of each message."""
    spool = module("spool").Spool("five", 5, 400)
    path = spool.write(tmp_path)

    assert module("spool").numbers_in(path) == [1, 2, 3, 4, 5]
    assert module("spool").numbers_in(tmp_path / "missing") == []


def test_ratios_are_to_popframe_and_a_failure_has_none(module: Module) -> None:
    """The table compares medians, and shows why a server has no number."""
    result = module("measuring").Result
    (work, *_) = module("works").works(1, 1, 10)
    results = [
        result("popframe", [0.001, 0.002, 0.009], [0.01, 0.01, 0.01]),
        result("other", [0.006, 0.006, 0.006], [0.005, 0.005, 0.005]),
        result("third", failure="RETR 1 of 2: another text"),
    ]

    popframe, other, third = module("table").table(work, results).splitlines()[2:]

    assert popframe.split() == ["popframe", "2.00", "1.00", "10.00", "1.00", "1.00", "to", "9.00"]
    assert other.split() == ["other", "6.00", "3.00", "5.00", "0.50", "6.00", "to", "6.00"]
    assert third.strip() == "third            failed: RETR 1 of 2: another text"
    assert module("table").summary([(work, results)], 0).endswith("| 2.0 ms | 3.00 | failed |")
