"""The plugin: at each login, what is new goes into the maildrop before it opens.

Rule of this file: whatever goes wrong with bulletins is a line in the log, and the login goes on.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from datetime import UTC, datetime

from popframe import Account, AccountMail, MaildropInUse, PopframeError, hookimpl
from popframe_bulletin import popbull
from popframe_bulletin.audience import Audience
from popframe_bulletin.catalogue import Catalogue, Entry, NotSettled
from popframe_bulletin.composing import compose
from popframe_bulletin.delivery import Delivery
from popframe_bulletin.finding import mark_of
from popframe_bulletin.message import BadBulletin
from popframe_bulletin.plan import Plan, make_plan
from popframe_bulletin.popbull import NoState, Received
from popframe_bulletin.record import is_begun, locked_record
from popframe_bulletin.settings import Settings as BulletinSettings

COMPLAINT_SECONDS = 600.0
"""How long a complaint is not repeated by one process: a file that cannot be read concerns every login."""

MAX_COMPLAINTS = 1000
"""How many different ones are remembered."""

_logger = logging.getLogger("popframe.bulletin")


class Bulletin:
    """Delivers bulletins."""

    Settings = BulletinSettings

    def __init__(self, settings: BulletinSettings) -> None:
        """Read the folder, so that processes which are forked from this one need not; one that is missing is logged."""
        self._settings = settings
        self._host = settings.host
        self._audience = Audience(settings.groups, is_restricted=settings.group_bulletins)
        self._catalogue = Catalogue(settings.folder, settings.max_octets)
        self._complaints: dict[str, float] = {}
        self._guard = threading.Lock()
        try:
            for entry in self._catalogue.entries():
                self._read_ahead(entry)
        except OSError as exc:
            _logger.warning("%s cannot be read: %s; there are no bulletins", settings.folder, exc.strerror)

    @hookimpl
    def popframe_before_maildrop_opens(self, account: Account, mail: AccountMail) -> None:
        """Deliver what the account has not had; see :mod:`popframe_bulletin.delivery`."""
        try:
            delivered = self._deliver_new(account, mail)
        except MaildropInUse as exc:
            _logger.info("no bulletins for %s now: %s", account.username, exc)
        except (BadBulletin, NoState, PopframeError) as exc:
            self._complain(f"no bulletins for {account.username}: {exc}")
        except OSError as exc:
            where = f"{exc.filename}: " if exc.filename else ""
            self._complain(f"no bulletins for {account.username}: {where}{exc.strerror}")
        else:
            if delivered:
                _logger.info("%s got %s", account.username, ", ".join(delivered))

    def _deliver_new(self, account: Account, mail: AccountMail) -> list[str]:
        """Deliver; return the names of the files."""
        place = popbull.find_place(account, self._settings.state_dir)
        must_finish = is_begun(place)
        if not must_finish:
            received = popbull.read(place)
            entries = self._catalogue.entries()
            if received is not None and not received.later and (not entries or entries[-1].number <= received.last):
                return []
            if self._plan(account, received).then == received:
                return []
        with locked_record(place) as record:
            delivery = Delivery(place, record, mail)
            if is_begun(place):
                delivery.finish()
            received = popbull.read(place)
            plan = self._plan(account, received)
            if plan.bulletins:
                self._deliver(delivery, account, received, plan)
            elif plan.then != received:
                delivery.note(plan.then)
        return [entry.name for entry, _ in plan.bulletins]

    def _deliver(self, delivery: Delivery, account: Account, received: Received | None, plan: Plan) -> None:
        token = secrets.token_hex(8)
        messages = [
            (entry.number, compose(bulletin, entry.number, account, self._host, mark_of(token, position)))
            for position, (entry, bulletin) in enumerate(plan.bulletins)
        ]
        delivery.deliver(token, messages, received, plan.then)

    def _plan(self, account: Account, received: Received | None) -> Plan:
        entries = self._catalogue.entries()
        wanted = [
            entry
            for entry in entries
            if (received is None or received.lacks(entry.number)) and self._audience.includes(entry.group, account)
        ]
        plan = make_plan(wanted, self._catalogue.message, received, datetime.now(UTC), self._settings.max_old_bulletins)
        last = max(plan.then.last, entries[-1].number if entries else 0)
        return Plan(plan.bulletins, Received(last, plan.then.later))

    def _read_ahead(self, entry: Entry) -> None:
        try:
            self._catalogue.message(entry)
        except NotSettled:
            pass
        except BadBulletin as exc:
            _logger.warning("a bulletin cannot be delivered: %s", exc)

    def _complain(self, text: str) -> None:
        """Log a complaint, unless it was logged lately."""
        now = time.monotonic()
        with self._guard:
            if now - self._complaints.get(text, -COMPLAINT_SECONDS) < COMPLAINT_SECONDS:
                return
            if len(self._complaints) >= MAX_COMPLAINTS:
                self._complaints.clear()
            self._complaints[text] = now
        _logger.warning("%s", text)
