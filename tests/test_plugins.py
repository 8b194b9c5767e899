"""Finding plugins, installed ones and single files, and what is wrong with the broken ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from pydantic import BaseModel

from popframe.plugins import PluginProblem, describe_plugins, find_plugins, plugin_name

Install = Callable[[str, str], None]
Write = Callable[[str, str], Path]

SOUND = """\
from popframe import Account, hookimpl

class Sound:
    @hookimpl
    def popframe_authenticate(self, credentials) -> Account | None:
        return None
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that installs a plugin's distribution, as pip would leave it."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(name: str, source: str) -> None:
        package = f"popframe_{name}"
        (site / f"{package}.py").write_text(source, encoding="utf-8")
        metadata = site / f"popframe_{name}-1.2.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: popframe-{name}\nVersion: 1.2\n")
        (metadata / "entry_points.txt").write_text(f"[popframe]\n{name} = {package}:Sound\n")
        monkeypatch.delitem(sys.modules, package, raising=False)

    return install


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a single-file plugin beside the configuration."""

    def write(name: str, source: str) -> Path:
        path = tmp_path / name
        path.write_text(dedent(source), encoding="utf-8")
        return path

    return write


def reasons(entry: str, directory: Path) -> list[str]:
    """Return what is wrong with one entry."""
    found, problems = find_plugins([entry], directory)
    assert found == {}
    return [problem.text for problem in problems]


# --- the list


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("auth_file", "auth_file"),
        ("./my_auth.py", "my_auth"),
        ("my_auth.py", "my_auth"),
        ("/opt/x/my_auth.py", "my_auth"),
        ("sub/my_auth", "my_auth"),
    ],
)
def test_file_is_named_by_its_stem(entry: str, name: str) -> None:
    """So is its table in the configuration."""
    assert plugin_name(entry) == name


def test_plugins_come_in_the_order_of_the_list(install: Install, write: Write, tmp_path: Path) -> None:
    """The order of asking is the operator's, not that of discovery."""
    install("aaa", SOUND)
    install("zzz", SOUND)
    write("mmm.py", SOUND)

    found, problems = find_plugins(["zzz", "./mmm.py", "aaa"], tmp_path)

    assert problems == []
    assert list(found) == ["zzz", "mmm", "aaa"]
    assert [plugin.origin for plugin in found.values()] == [
        "popframe-zzz 1.2",
        str(tmp_path / "mmm.py"),
        "popframe-aaa 1.2",
    ]
    assert found["zzz"].hooks == ("popframe_authenticate",)


def test_plugin_that_is_not_listed_is_not_imported(install: Install, tmp_path: Path) -> None:
    """An installed plugin does nothing until an operator asks for it."""
    install("good", SOUND)
    install("bomb", "raise SystemExit('imported')")

    assert find_plugins(["good"], tmp_path)[1] == []
    assert "popframe_bomb" not in sys.modules


def test_plugin_that_is_listed_twice_is_a_problem(write: Write, tmp_path: Path) -> None:
    """By whatever spelling; one name is one table."""
    write("one.py", SOUND)

    found, problems = find_plugins(["one.py", "./one.py", "one"], tmp_path)

    assert list(found) == ["one"]
    assert problems == [PluginProblem("one", "listed twice", 1), PluginProblem("one", "listed twice", 2)]


def test_broken_plugin_stops_no_other(install: Install, write: Write, tmp_path: Path) -> None:
    """All of them are looked at, so that all problems are told at once."""
    install("good", SOUND)
    write("bad.py", "1 / 0")

    found, problems = find_plugins(["bad.py", "missing", "good"], tmp_path)

    assert list(found) == ["good"]
    assert [(problem.name, problem.position) for problem in problems] == [("bad", 0), ("missing", 1)]


# --- installed plugins


def test_message_about_a_missing_plugin_says_how_to_install_it(install: Install, tmp_path: Path) -> None:
    """The distribution's name follows from the plugin's."""
    install("good", SOUND)

    (reason,) = reasons("virtual_users", tmp_path)

    assert reason.startswith("not installed (installed: ")
    assert reason.endswith("; to install it: pip install popframe-virtual-users")


def test_misspelt_plugin_is_not_fetched_from_a_stranger(install: Install, tmp_path: Path) -> None:
    """A slip is answered by the name that was meant, never by a command that installs what the slip names."""
    install("virtual_users", SOUND)

    (reason,) = reasons("virtual_user", tmp_path)

    assert reason.startswith("not installed; did you mean 'virtual_users'? (installed: ")
    assert "virtual_users" in reason.partition("(installed: ")[2]
    assert "pip" not in reason


@pytest.mark.parametrize("entry", ["auth pam", "auth-pam; true", "ä"])
def test_name_that_no_plugin_can_have_suggests_no_command(entry: str, tmp_path: Path) -> None:
    """What is printed may be copied into a shell."""
    assert "pip install" not in reasons(entry, tmp_path)[0]


def test_two_distributions_with_one_plugin_are_a_problem(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could tell which of them runs."""
    install("twin", SOUND)
    other = tmp_path / "other" / "stranger-3.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 3\n")
    (other / "entry_points.txt").write_text("[popframe]\ntwin = stranger:X\n")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))

    assert reasons("twin", tmp_path) == ["in several distributions: stranger 3, popframe-twin 1.2"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def (", "cannot be imported: SyntaxError: invalid syntax ({path}:1)"),
        ("x = 1\n\nimport nothing_there\n", "cannot be imported: ModuleNotFoundError: No module named 'nothing_there' "
         "({path}:3)"),
        ("def f():\n    raise SystemExit(3)\nf()", "cannot be imported: SystemExit: 3 ({path}:2)"),
        ("", "cannot be imported: AttributeError: module 'popframe_broken' has no attribute 'Sound' "
         "(popframe_broken:Sound)"),
        ("Sound = 3", "popframe_broken:Sound is not a class"),
        ("class Sound: pass", "Sound has no method marked with @hookimpl"),
    ],
)  # fmt: skip
def test_installed_plugin_that_cannot_be_imported(install: Install, tmp_path: Path, source: str, reason: str) -> None:
    """The message says what went wrong, in which file and line."""
    install("broken", source)

    assert reasons("broken", tmp_path) == [reason.format(path=tmp_path / "site" / "popframe_broken.py")]


# --- single files


def test_single_file_is_a_plugin(write: Write, tmp_path: Path) -> None:
    """One class with hooks; other classes, its settings and what it imports are of no concern."""
    write(
        "my_auth.py",
        """\
        from __future__ import annotations
        from dataclasses import dataclass
        from popframe import Account, ConfigPath, PluginSettings, hookimpl
        from pathlib import Path

        @dataclass
        class Row:
            x: int

        class Settings(PluginSettings):
            path: ConfigPath = Path("users")

        class MyAuth:
            Settings = Settings

            def __init__(self, settings: Settings) -> None:
                self.path = settings.path

            @hookimpl
            def popframe_authenticate(self, credentials) -> Account | None:
                return None

        Alias = MyAuth
        """,
    )
    found, problems = find_plugins(["./my_auth.py"], tmp_path)

    assert problems == []
    assert found["my_auth"].plugin_class.__name__ == "MyAuth"
    assert found["my_auth"].settings_model is not None
    assert issubclass(found["my_auth"].settings_model, BaseModel)


def test_single_file_knows_where_it_is(write: Write, tmp_path: Path) -> None:
    """It may bring data along, and looks for it beside itself."""
    path = write("one.py", SOUND + "    where = __file__\n")

    assert vars(find_plugins(["one.py"], tmp_path)[0]["one"].plugin_class)["where"] == str(path)


def test_single_file_leaves_nothing_behind(write: Write, tmp_path: Path) -> None:
    """No bytecode in the operator's folder."""
    write("one.py", SOUND)
    find_plugins(["one.py"], tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["one.py"]


def test_single_file_is_read_anew(write: Write, tmp_path: Path) -> None:
    """A change counts at the next reading, however soon after the first it was made."""
    write("one.py", SOUND)
    find_plugins(["one.py"], tmp_path)
    write("one.py", SOUND.replace("class Sound", "class Novel"))

    assert find_plugins(["one.py"], tmp_path)[0]["one"].plugin_class.__name__ == "Novel"


def test_single_file_hides_no_module(write: Write, tmp_path: Path) -> None:
    """A plugin may be called like a module that something else needs."""
    write("json.py", SOUND)
    find_plugins(["json.py"], tmp_path)

    import json

    assert json.loads("1") == 1


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def (", "cannot be imported: SyntaxError: invalid syntax ({path}:1)"),
        ("x = 1\n1 / 0\n", "cannot be imported: ZeroDivisionError: division by zero ({path}:2)"),
        ("x = 1\n", "no class in {path} has a method marked with @hookimpl"),
        ("from popframe import Account\n", "no class in {path} has a method marked with @hookimpl"),
        (SOUND + SOUND.replace("class Sound", "class Other"), "several classes in {path} have hooks (Sound, Other); a "
         "plugin is one class"),
    ],
)  # fmt: skip
def test_single_file_that_is_no_plugin(write: Write, tmp_path: Path, source: str, reason: str) -> None:
    """The message names the file."""
    path = write("broken.py", source)

    assert reasons("broken.py", tmp_path) == [reason.format(path=path)]


def test_failed_import_leaves_no_module(write: Write, tmp_path: Path) -> None:
    """Half a module is of no use to anybody."""
    write("broken.py", "1 / 0")
    find_plugins(["broken.py"], tmp_path)

    assert "popframe_file_broken" not in sys.modules


def test_file_that_is_not_there_is_told_with_its_whole_path(tmp_path: Path) -> None:
    """The operator sees which folder it was looked for in."""
    assert reasons("../plugins/x.py", tmp_path / "etc") == [f"not found: there is no file {tmp_path}/plugins/x.py"]


# --- the list for people


def test_description_says_what_is_used_and_what_is_broken(install: Install, write: Write, tmp_path: Path) -> None:
    """Listed plugins come first, in their order; then the others that are installed."""
    install("used", SOUND)
    install("unused", SOUND)
    install("unused_broken", "1 / 0")
    write("single.py", SOUND)
    described = describe_plugins(["single.py", "missing", "used"], tmp_path)
    ours = [plugin for plugin in described if plugin.name in {"single", "missing", "used", "unused", "unused_broken"}]

    assert [(plugin.name, plugin.status, plugin.distribution, plugin.version) for plugin in ours] == [
        ("single", "active", "", ""),
        ("missing", "broken", "", ""),
        ("used", "active", "popframe-used", "1.2"),
        ("unused", "not listed", "popframe-unused", "1.2"),
        ("unused_broken", "broken", "popframe-unused_broken", "1.2"),
    ]
    assert ours[0].path == str(tmp_path / "single.py")
    assert ours[0].hooks == ("popframe_authenticate",)
    assert ours[1].reasons[0].startswith("not installed")
    assert ours[4].reasons[0].startswith("cannot be imported: ZeroDivisionError")


def test_description_without_a_configuration(install: Install, tmp_path: Path) -> None:
    """Every plugin is just installed."""
    install("used", SOUND)

    assert [plugin.status for plugin in describe_plugins(None, tmp_path) if plugin.name == "used"] == ["installed"]
