"""Records that many processes share: none is lost, torn or mixed up, whoever dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe.server.abuse.storage import KEY_OCTETS, WAYS, Section, SharedFile, keyed_hash

PAYLOAD_OCTETS = 8
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def file() -> Iterator[SharedFile]:
    """Yield an empty file in memory."""
    made = SharedFile(os.memfd_create("test", os.MFD_CLOEXEC))
    yield made
    made.close()


def key(number: int) -> bytes:
    """Return a key; the first eight octets choose the bucket."""
    return keyed_hash(b"salt", str(number).encode())


def section(file: SharedFile, buckets: int = 1) -> Section:
    """Return a part of the file that begins somewhere."""
    return Section(file, 100, PAYLOAD_OCTETS, buckets)


def number(payload: bytes) -> float:
    """Return the content of a record as a number: the smallest gives way."""
    return float(int.from_bytes(payload, "big"))


def octets(value: int) -> bytes:
    """Return a number as the content of a record."""
    return value.to_bytes(PAYLOAD_OCTETS, "big")


def test_what_is_kept_is_found_until_it_is_removed(file: SharedFile) -> None:
    """Each under its own key, and nothing under others."""
    table = section(file)
    for each in range(WAYS):
        table.put(key(each), octets(each), number)
    table.put(key(3), octets(33), number)
    table.remove(key(5))

    kept = [table.get(key(each)) for each in range(WAYS)]
    assert kept == [octets(33) if each == 3 else None if each == 5 else octets(each) for each in range(WAYS)]
    assert dict(table.records()) == {key(each): payload for each, payload in enumerate(kept) if payload}
    assert table.get(key(99)) is None


def test_the_lightest_gives_way_when_there_is_no_room(file: SharedFile) -> None:
    """However many others come, what weighs most stays."""
    table = section(file)
    for each in range(1000, 0, -1):
        table.put(key(each), octets(each), number)

    assert {number(payload) for _, payload in table.records()} == {1, *range(1000, 1000 - WAYS + 1, -1)}


@given(st.integers(0, (KEY_OCTETS + 4 + PAYLOAD_OCTETS) * 8 - 1))
def test_a_record_with_a_wrong_bit_counts_as_none(bit: int) -> None:
    """It was torn, or the disk is bad; the place is free again, and the records beside it are whole."""
    file = SharedFile(os.memfd_create("test", os.MFD_CLOEXEC))
    table = section(file)
    table.put(key(1), octets(1), number)
    table.put(key(2), octets(2), number)
    place = 100 + bit // 8
    file.write(place, bytes([file.read(place, 1)[0] ^ 1 << bit % 8]))

    assert table.get(key(1)) is None
    assert table.get(key(2)) == octets(2)
    table.put(key(1), octets(7), number)
    assert dict(table.records()) == {key(1): octets(7), key(2): octets(2)}
    file.close()


def test_a_file_that_was_cut_off_holds_nothing_and_takes_new_records(file: SharedFile) -> None:
    """Whoever cuts it off makes the server forget, not fail."""
    table = section(file, buckets=4)
    for each in range(20):
        table.put(key(each), octets(each), number)
    os.ftruncate(file._descriptor, 110)

    assert list(table.records()) == []
    table.put(key(1), octets(1), number)
    assert table.get(key(1)) == octets(1)


def _count_up(shared: SharedFile, times: int) -> None:
    file = shared.reopened()
    table = section(file)
    for _ in range(times):
        with file.locked():
            table.put(key(1), octets(int(number(table.get(key(1)) or octets(0))) + 1), number)


def test_two_processes_and_their_threads_lose_no_count(file: SharedFile) -> None:
    """Reading and writing under the lock is one step for all others."""
    processes = [FORK.Process(target=_count_up, args=(file, 2000)) for _ in range(2)]
    for process in processes:
        process.start()
    own = file.reopened()
    table = section(own)

    def count() -> None:
        for _ in range(500):
            with own.locked():
                table.put(key(1), octets(int(number(table.get(key(1)) or octets(0))) + 1), number)

    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0]
    assert table.get(key(1)) == octets(5000)


def test_the_lock_of_a_process_that_is_killed_is_free(file: SharedFile) -> None:
    """Nobody waits for the dead."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        with file.reopened().locked():
            os.write(tell, b"x")
            time.sleep(60)
        os._exit(0)
    assert os.read(told, 1) == b"x"
    taken: list[float] = []
    own = file.reopened()

    def take() -> None:
        with own.locked():
            taken.append(time.monotonic())

    thread = threading.Thread(target=take)
    thread.start()
    thread.join(0.2)
    assert taken == []  # it is held
    os.kill(pid, signal.SIGKILL)
    thread.join(20)
    os.waitpid(pid, 0)

    assert len(taken) == 1
    os.close(told)
    os.close(tell)


def test_hashes_know_where_one_part_ends() -> None:
    """No address and user name give the key of another pair."""
    assert keyed_hash(b"k", b"ab", b"c") != keyed_hash(b"k", b"a", b"bc")
    assert keyed_hash(b"k", b"ab") != keyed_hash(b"l", b"ab")
