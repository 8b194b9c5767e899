"""The mbox store keeps every promise of a maildrop."""

from __future__ import annotations

from pathlib import Path

import pytest

from popframe import Account
from popframe.testing import HookedStore, MaildropContract, StoreUnderTest
from popframe_store_mbox import Settings, StoreMbox


class TestStoreMbox(MaildropContract):
    """With its default settings, but for the directory."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> StoreUnderTest:
        """Return a store without a spool."""
        return HookedStore(StoreMbox(Settings(spool_dir=tmp_path)))

    def kept_form(self, content: bytes) -> bytes:
        """Return the message with LF line ends and its From_ lines quoted."""
        return content.replace(b"\r\n", b"\n").replace(b"\nFrom ", b"\n>From ")


class TestStoreMboxWithStateDirectory(TestStoreMbox):
    """With session locks and journals in another place, only the kernel's locks, and a spool that the account names."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> StoreUnderTest:
        """Return a store without a spool."""
        for name in ("spool", "state", "elsewhere"):
            (tmp_path / name).mkdir()
        settings = Settings(spool_dir=tmp_path / "spool", state_dir=tmp_path / "state", locks=("flock", "fcntl"))
        return HookedStore(StoreMbox(settings), Account("alice", maildrop=str(tmp_path / "elsewhere" / "inbox")))
