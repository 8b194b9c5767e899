"""What the documents say of the plugin is what it does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from popframe_auth_shadow import AuthShadowSettings
from popframe_auth_shadow.account_state import AccountState

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[3]


def test_every_setting_is_documented() -> None:
    """The README has a row for each setting."""
    text = (ROOT / "plugins" / "auth_shadow" / "README.md").read_text("utf-8")

    assert re.findall(r"^\| `(\w+)` \| .* \| .* \|$", text, re.MULTILINE) == list(AuthShadowSettings.model_fields)


def test_every_state_is_documented_with_its_reason() -> None:
    """An operator finds each reason of the log in the table, once."""
    text = (ROOT / "docs" / "accounts.md").read_text("utf-8").split("## From passwd and shadow")[1].split("\n## ")[0]
    reasons = re.findall(r"^\| .* \| refused.* \| ([a-z][^|]+) \|$", text, re.MULTILINE)

    assert sorted(reasons) == sorted(state.value for state in AccountState if state is not AccountState.OPEN)
