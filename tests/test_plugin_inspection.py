"""Hooks that would be ignored in silence, or could not be called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from popframe.plugins import find_plugins

Reasons = Callable[[str], list[str]]

HEAD = "from functools import cached_property; from popframe import hookimpl\nclass X:\n"
"""A method that is put behind it begins in line 3."""


@pytest.fixture
def reasons(tmp_path: Path) -> Reasons:
    """Return a function that says what is wrong with a class of given methods."""

    def reasons(body: str) -> list[str]:
        indented = "".join(f"    {line}\n" for line in body.splitlines())
        (tmp_path / "plugin.py").write_text(HEAD + indented, encoding="utf-8")
        _, problems = find_plugins(["plugin.py"], tmp_path)
        return [problem.text.replace(str(tmp_path), "") for problem in problems]

    return reasons


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("def popframe_authenticate(self, credential): ...", "there is no argument 'credential'; did you mean "),
        ("def popframe_authenticate(self, user): ...", "there is no argument 'user' (arguments: credentials, peer)"),
        ("def popframe_authenticate(self, peer=None): ...", "argument 'peer' must not have a default: it would never "),
        ("def popframe_authenticate(self, *args): ...", "argument '*args' cannot be filled: arguments are named one "),
        (
            "def popframe_authenticate(self, **args): ...",
            "argument '**args' cannot be filled: arguments are named one ",
        ),
        ("def popframe_authenticate(self, *, peer): ...", "argument 'peer' cannot be filled: arguments are named one "),
        ("async def popframe_authenticate(self): ...", "must not be 'async def'"),
        ("async def popframe_authenticate(self): yield", "must not be 'async def'"),
        ("def popframe_authenticate(self): yield", "must not have 'yield': it would return at once and never run"),
    ],
)
def test_method_that_could_not_be_called_is_told(reasons: Reasons, method: str, reason: str) -> None:
    """With its hook, its file and the line in which it begins."""
    (told,) = reasons(f"@hookimpl\n{method}")

    assert told.startswith(f"popframe_authenticate (/plugin.py:3): {reason}")


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("wrapper=True", "hook wrappers are not supported: one plugin would change what another one decided"),
        ("hookwrapper=True", "hook wrappers are not supported: one plugin would change what another one decided"),
        ("tryfirst=True", "tryfirst and trylast are not supported: the order is that of the list 'plugins'"),
        ("trylast=True", "tryfirst and trylast are not supported: the order is that of the list 'plugins'"),
    ],
)
def test_option_that_would_change_the_order_is_told(reasons: Reasons, option: str, reason: str) -> None:
    """Who is asked first is for the operator to say."""
    body = "yield" if "wrapper" in option else "..."

    assert reasons(f"@hookimpl({option})\ndef popframe_authenticate(self): {body}") == [
        f"popframe_authenticate (/plugin.py:3): {reason}"
    ]


@pytest.mark.parametrize(
    ("body", "hook", "suggestion"),
    [
        ("@hookimpl\ndef popframe_authenticat(self): ...", "popframe_authenticat", "popframe_authenticate"),
        ("@hookimpl\ndef popframe_auth(self): ...", "popframe_auth", "popframe_authorize"),
        ("@hookimpl(specname='popframe_open_mail')\ndef f(self): ...", "popframe_open_mail", "popframe_open_maildrop"),
    ],
)
def test_misspelt_hook_is_told_with_the_nearest_name(reasons: Reasons, body: str, hook: str, suggestion: str) -> None:
    """And with all others."""
    (told,) = reasons(body)

    assert told.startswith(
        f"{hook} (/plugin.py:3): there is no such hook; did you mean '{suggestion}'? (hooks: {suggestion}, popframe_"
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "@property\n@hookimpl\ndef popframe_authorize(self): ...",
            " (/plugin.py:3): a hook is a method, not a property",
        ),
        (
            "@cached_property\n@hookimpl\ndef popframe_authorize(self): ...",
            " (/plugin.py:3): a hook is a method, not a cached_property",
        ),
        ("@hookimpl\nclass popframe_authorize: ...", ": a hook is a method, not a type"),
        (
            "def popframe_authorize(self): ...",
            " (/plugin.py:3): is not marked with @hookimpl, so it would never be called",
        ),
        ("popframe_authorize = 1", ": is not marked with @hookimpl, so it would never be called"),
    ],
)
def test_attribute_that_is_no_hook_is_told(reasons: Reasons, body: str, reason: str) -> None:
    """It would be passed over in silence."""
    assert reasons(body) == [f"popframe_authorize{reason}"]


def test_hook_that_is_implemented_twice_is_told(reasons: Reasons) -> None:
    """One plugin has one answer."""
    body = (
        "@hookimpl\ndef popframe_authenticate(self): ...\n@hookimpl(specname='popframe_authenticate')\ndef x(self): ..."
    )

    assert reasons(body) == ["popframe_authenticate (/plugin.py:5): is implemented twice"]


def test_all_problems_of_a_class_are_told(reasons: Reasons) -> None:
    """Every hook, every argument, and the settings."""
    told = reasons(
        "Settings = dict\n"
        "@hookimpl\n"
        "def popframe_authenticat(self): ...\n"
        "@hookimpl\n"
        "def popframe_authorize(self, user, place): ...\n"
    )

    assert len(told) == 4
    assert told[-1] == "X.Settings is not a class derived from PluginSettings"


def test_overridden_hook_needs_its_mark(tmp_path: Path) -> None:
    """A method of a subclass takes the place of the marked one, which is then never called."""
    (tmp_path / "parent.py").write_text(f"{HEAD}    @hookimpl\n    def popframe_authorize(self): ...\n")
    (tmp_path / "plugin.py").write_text(
        "import runpy, pathlib\n"
        "X = runpy.run_path(str(pathlib.Path(__file__).with_name('parent.py')))['X']\n"
        "class Child(X):\n"
        "    def popframe_authorize(self): ...\n"
    )
    _, problems = find_plugins(["plugin.py"], tmp_path)

    assert [problem.text for problem in problems] == [
        f"popframe_authorize ({tmp_path}/plugin.py:4): is not marked with @hookimpl, so it would never be called"
    ]


@pytest.mark.parametrize(
    "body",
    [
        "@staticmethod\n@hookimpl\ndef popframe_authenticate(credentials, peer): ...",
        "@classmethod\n@hookimpl\ndef popframe_authenticate(cls, credentials): ...",
        "@hookimpl(specname='popframe_authenticate')\ndef ask(self, credentials): ...",
        "@hookimpl\ndef popframe_authenticate(self): ...",
        "@hookimpl\ndef popframe_register_commands(self): yield",
    ],
)
def test_sound_forms_of_a_hook(reasons: Reasons, body: str) -> None:
    """Every kind of method will do, under any name if it says which hook it is."""
    assert reasons(body) == []
