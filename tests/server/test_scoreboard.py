"""Connection limits count over all fronts, exactly, and forget the dead."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, multiple, rule

from popframe.server.scoreboard import REGIONS, SLOTS, FrontBoard, Scoreboard, TooManyConnections

ADDRESSES = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", ""]
TOTAL, PER_ADDRESS, PER_USER = 6, 3, 2


@pytest.fixture
def scoreboard() -> Scoreboard:
    """Return an empty board."""
    return Scoreboard()


def front(scoreboard: Scoreboard) -> FrontBoard:
    """Return the board as a new front sees it."""
    region = scoreboard.take_region()
    assert region is not None
    return FrontBoard(scoreboard, region)


def enter(board: FrontBoard, address: str, limit: int, address_limit: int) -> int:
    """Take a slot and count it, or hold nothing."""
    slot = board.enter()
    try:
        board.check_total(limit)
        if address:
            board.enter_address(slot, address, address_limit)
    except TooManyConnections:
        board.leave(slot)
        raise
    return slot


def test_one_front_sees_the_connections_of_another(scoreboard: Scoreboard) -> None:
    """The limit for an address holds over processes."""
    first, second = front(scoreboard), front(scoreboard)
    slot = enter(first, "192.0.2.1", 10, 2)
    enter(second, "192.0.2.1", 10, 2)
    with pytest.raises(TooManyConnections, match="max_connections_per_address"):
        enter(second, "192.0.2.1", 10, 2)
    enter(second, "192.0.2.2", 10, 2)
    first.leave(slot)

    enter(second, "192.0.2.1", 10, 2)
    assert scoreboard.session_count() == 3


def test_a_refused_connection_holds_nothing(scoreboard: Scoreboard) -> None:
    """However often somebody is refused, its place stays free for others."""
    board = front(scoreboard)
    enter(board, "192.0.2.1", 2, 1)
    for _ in range(SLOTS + 1):
        with pytest.raises(TooManyConnections):
            enter(board, "192.0.2.1", 2, 1)

    enter(board, "192.0.2.2", 2, 1)
    with pytest.raises(TooManyConnections, match=r"in all \(max_connections\)"):
        enter(board, "192.0.2.3", 2, 1)


def test_an_ipv6_network_counts_as_one_address(scoreboard: Scoreboard) -> None:
    """One site owns a /64 and can use any address in it; a scope is no part of the address."""
    board = front(scoreboard)
    enter(board, "2001:db8::1", 10, 1)
    with pytest.raises(TooManyConnections):
        enter(board, "2001:db8::ffff:1%eth0", 10, 1)

    enter(board, "2001:db8:0:1::1", 10, 1)


def test_an_address_may_become_known_later(scoreboard: Scoreboard) -> None:
    """N-020: a connection counts in all from its beginning, and for its address from then on."""
    board = front(scoreboard)
    first, second = enter(board, "", 2, 1), enter(board, "", 2, 1)
    with pytest.raises(TooManyConnections, match=r"in all"):
        enter(board, "", 2, 1)
    board.enter_address(first, "192.0.2.1", 1)
    with pytest.raises(TooManyConnections, match="max_connections_per_address"):
        board.enter_address(second, "192.0.2.1", 1)
    board.leave(second)

    board.enter_address(enter(board, "", 2, 1), "192.0.2.2", 1)


def test_a_wiped_region_counts_no_more(scoreboard: Scoreboard) -> None:
    """The sessions of a dead front free their places."""
    region = scoreboard.take_region()
    assert region is not None
    dead, alive = FrontBoard(scoreboard, region), front(scoreboard)
    slot = enter(dead, "192.0.2.1", 1, 1)
    dead.enter_user(slot, "alice", 1)
    scoreboard.wipe_region(region)

    slot = enter(alive, "192.0.2.1", 1, 1)
    alive.enter_user(slot, "alice", 1)
    assert scoreboard.session_count() == 1


def test_regions_run_out_and_come_back(scoreboard: Scoreboard) -> None:
    """More fronts than regions are not started."""
    regions = [scoreboard.take_region() for _ in range(REGIONS)]

    assert scoreboard.take_region() is None
    assert regions[0] is not None
    scoreboard.wipe_region(regions[0])
    assert scoreboard.take_region() == regions[0]


def test_one_front_holds_no_more_sessions_than_it_has_slots(scoreboard: Scoreboard) -> None:
    """Beyond that the answer is polite, too."""
    board = front(scoreboard)
    for _ in range(SLOTS):
        enter(board, "", 100_000, 1)

    with pytest.raises(TooManyConnections, match=str(SLOTS)):
        enter(board, "", 100_000, 1)


class BoardMachine(RuleBasedStateMachine):
    """Two fronts do anything at all; a plain list says what must come of it."""

    sessions = Bundle("sessions")

    def __init__(self) -> None:
        """Start with two fronts and nobody."""
        super().__init__()
        scoreboard = Scoreboard()
        self.fronts = [front(scoreboard), front(scoreboard)]
        self.present: list[tuple[str, str]] = []

    @staticmethod
    def network(address: str) -> str:
        """Return what the model counts an address as."""
        return "net" if address in ("2001:db8::1", "2001:db8::2") else address

    @rule(target=sessions, place=st.sampled_from([0, 1]), address=st.sampled_from(ADDRESSES))
    def enter(self, place: int, address: str) -> object:
        """Connect: refused exactly when a limit is reached."""
        here = [present for present, _ in self.present if present == self.network(address) and present]
        is_full = len(self.present) >= TOTAL or len(here) >= PER_ADDRESS
        try:
            slot = enter(self.fronts[place], address, TOTAL, PER_ADDRESS)
        except TooManyConnections:
            assert is_full
            return multiple()
        assert not is_full
        self.present.append((self.network(address), ""))
        return (place, slot, self.network(address))

    @rule(session=consumes(sessions), user=st.sampled_from(["alice", "bob"]))
    def log_in_and_leave(self, session: tuple[int, int, str], user: str) -> None:
        """Count for a user, and go."""
        place, slot, network = session
        self.fronts[place].enter_user(slot, user, PER_USER)
        self.fronts[place].leave(slot)
        self.present.remove((network, ""))


TestBoardMachine = BoardMachine.TestCase
