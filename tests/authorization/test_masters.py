"""Who may log in as somebody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popframe.authorization.masters import MasterUsers


@pytest.mark.parametrize(
    ("username", "parts"),
    [
        ("boss*alice", ("boss", "alice")),
        ("boss*alice*bob", ("boss", "alice*bob")),
        ("boss*", ("boss*", "")),
        ("boss", ("boss", "")),
        ("*alice", ("*alice", "")),
        ("alice*boss", ("alice*boss", "")),
        ("Boss*alice", ("Boss*alice", "")),
        ("alice", ("alice", "")),
        ("", ("", "")),
    ],
)
def test_a_master_users_name_stands_before_the_other(username: str, parts: tuple[str, str]) -> None:
    """Any other name in which there is a separator is an ordinary one."""
    assert MasterUsers(("boss",), "*").split(username) == parts


@given(st.text(), st.text(min_size=1))
def test_without_master_users_a_name_is_a_name(username: str, separator: str) -> None:
    """A-044: whatever stands in it."""
    masters = MasterUsers((), separator)

    assert masters.split(username) == (username, "")
    assert not masters.includes(username)
