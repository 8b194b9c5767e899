"""The memory of right passwords: bounded, positive, and bound to the stored hash."""

from __future__ import annotations

import gc
import os

import pytest

from popframe.password import hash_password
from popframe.proven_passwords import ProvenPasswords

PASSWORD = b"correct horse"
QUICK_HASH = "$2b$05$mJ8QEK.Zxv2G5Nih7e6uwuKqhXfJ8Y3mdtBdR3FM2Xt.orIzRJ74K"


@pytest.fixture
def password() -> bytes:
    """Return the password that belongs to ``quick_hash``."""
    return PASSWORD


@pytest.fixture
def quick_hash() -> str:
    """Return a bcrypt hash of ``password`` that takes 2 ms."""
    return QUICK_HASH


@pytest.fixture
def hashes(password: bytes) -> list[str]:
    """Return three different hashes of one password."""
    return [hash_password(password, "sha512crypt") for _ in range(3)]


def test_only_right_passwords_are_kept(password: bytes, quick_hash: str) -> None:
    """A stream of guesses neither fills the memory nor is ever believed."""
    proven = ProvenPasswords()

    assert [proven.verify(b"guess %d" % number, quick_hash) for number in range(20)] == [False] * 20
    assert proven.verify(password, quick_hash)
    assert not proven.verify(password + b"x", quick_hash)
    assert len(proven) == 1


def test_proof_holds_for_its_hash_alone(password: bytes, hashes: list[str]) -> None:
    """The same password proves each stored hash anew, and nothing for a hash of another one."""
    proven = ProvenPasswords()
    other = hash_password(b"other", "sha512crypt")

    assert all(proven.verify(password, stored) for stored in hashes)
    assert len(proven) == len(hashes)
    assert not proven.verify(password, other)
    assert not proven.verify(password, "!" + hashes[0])


def test_memory_is_bounded(password: bytes, hashes: list[str]) -> None:
    """A server with more users than fit goes on; who was forgotten is verified again."""
    proven = ProvenPasswords(limit=2)
    answers = [proven.verify(password, stored) for stored in [*hashes, *hashes]]

    assert answers == [True] * 6
    assert len(proven) == 2


def test_memory_holds_neither_password_nor_hash(password: bytes, quick_hash: str) -> None:
    """What a look into the process shows of it is useless without the key, and different in every process."""
    memories = [ProvenPasswords(), ProvenPasswords()]
    assert all(proven.verify(password, quick_hash) for proven in memories)
    shown = [repr(vars(proven)) for proven in memories]

    assert all(password.decode() not in text and quick_hash not in text for text in shown)
    assert not {*vars(memories[0])["_proofs"]} & {*vars(memories[1])["_proofs"]}


def test_a_parent_learns_what_a_child_has_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """By keyed hashes alone; each object its own."""
    first, second = ProvenPasswords(), ProvenPasswords()
    computed: list[bytes] = []

    def verify(password: bytes, stored: str) -> bool:
        computed.append(password)
        return password == b"secret"

    monkeypatch.setattr("popframe.proven_passwords.verify_password", verify)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ProvenPasswords.record()
            second.verify(b"secret", "$1$stored")
            second.verify(b"wrong", "$1$stored")
            os.write(writing, ProvenPasswords.recorded())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        records = pipe.read()
    os.waitpid(pid, 0)
    assert b"secret" not in records
    ProvenPasswords.learn(records)

    assert (len(first), len(second)) == (0, 1)
    assert second.verify(b"secret", "$1$stored")
    assert computed == []
    assert ProvenPasswords.recorded() == b""


def test_what_is_of_no_use_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that a reload has replaced; half a record."""
    gone = ProvenPasswords()
    monkeypatch.setattr(ProvenPasswords, "_records", [])
    try:
        assert gone.verify(PASSWORD, QUICK_HASH)
        records = ProvenPasswords.recorded()
    finally:
        monkeypatch.undo()
    del gone
    gc.collect()

    ProvenPasswords.learn(records)
    ProvenPasswords.learn(records[:-1])
    ProvenPasswords.learn(b"")
