"""One version, one word in four spellings, and no way to a stranger's ``popframe`` on an index.

The name ``popframe`` on PyPI belongs to another project: the distributions are ``popframe-server`` and
``popframe-NAME``, and no text or metadata of ours may lead pip to the bare name.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from popframe import __version__

pytestmark = pytest.mark.checkout

CHECKOUT = Path(__file__).resolve().parent.parent
PLUGIN_FOLDERS = sorted(path.parent for path in (CHECKOUT / "plugins").glob("*/pyproject.toml"))
each_plugin = pytest.mark.parametrize("folder", PLUGIN_FOLDERS, ids=lambda folder: folder.name)

INSTALLS_THE_BARE_NAME = re.compile(
    r"""\b (?: pip[x3]? | uv | uvx ) [ \t]
    (?: [^\n`]* [ \t] )?? (?: install | download | run | add ) [ \t]+
    (?: [^\s`]* [^\s`,;:.] [ \t]+ )*?  # options and other packages; a comma or a full stop ends the command
    ["']? popframe (?= [\[\s=<>~!;"'`),:] | [.]? $ | [.] \s )""",
    re.VERBOSE | re.MULTILINE,
)
"""A command line that asks an index for ``popframe`` itself; ``popframe-server`` or ``./popframe`` is not meant."""


def read_metadata(folder: Path) -> dict[str, Any]:
    """Return the ``[project]`` table of a distribution."""
    table: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    return table


def requirements_of(folder: Path) -> list[str]:
    """Return every requirement that pip may read from a distribution's ``pyproject.toml``."""
    document = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
    project = document["project"]
    groups = [
        document["build-system"]["requires"],
        project.get("dependencies", []),
        *project.get("optional-dependencies", {}).values(),
        *document.get("dependency-groups", {}).values(),
    ]
    return [requirement for group in groups for requirement in group if isinstance(requirement, str)]


def test_every_folder_of_plugins_is_a_distribution() -> None:
    """A folder without a ``pyproject.toml`` would be left out of every install and every test here."""
    folders = sorted(path for path in (CHECKOUT / "plugins").iterdir() if path.is_dir())

    assert PLUGIN_FOLDERS
    assert folders == PLUGIN_FOLDERS


@each_plugin
def test_plugin_has_the_version_and_the_python_of_the_core(folder: Path) -> None:
    """Core and plugins are released together under one number."""
    metadata = read_metadata(folder)

    assert metadata["version"] == __version__
    assert metadata["requires-python"] == read_metadata(CHECKOUT)["requires-python"]


@each_plugin
def test_plugin_has_its_name_in_four_spellings(folder: Path) -> None:
    """Folder and entry point ``auth_pam``, distribution ``popframe-auth-pam``, package ``popframe_auth_pam``."""
    metadata = read_metadata(folder)
    (entry_point,) = metadata["entry-points"]["popframe"].items()

    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", folder.name)
    assert metadata["name"] == "popframe-" + folder.name.replace("_", "-")
    assert entry_point[0] == folder.name
    assert entry_point[1].partition(":")[0] == "popframe_" + folder.name


@each_plugin
def test_plugin_is_one_typed_package_with_a_readme(folder: Path) -> None:
    """What a stranger gets from an index explains itself, and mypy believes its types."""
    packages = sorted(path.parent.name for path in folder.glob("*/__init__.py"))

    assert packages == ["popframe_" + folder.name]
    assert (folder / packages[0] / "py.typed").is_file()
    assert read_metadata(folder)["readme"] == "README.md"
    assert (folder / "README.md").read_text("utf-8").strip()


@each_plugin
def test_plugin_needs_the_core_of_its_own_minor_release(folder: Path) -> None:
    """A hook may change its promises with a minor release, so a plugin stays within one."""
    major, minor, _ = __version__.split(".")
    expected = f"popframe-server>={major}.{minor},<{major}.{int(minor) + 1}"

    assert expected in read_metadata(folder)["dependencies"]


@pytest.mark.parametrize("folder", [CHECKOUT, *PLUGIN_FOLDERS], ids=lambda folder: folder.name)
def test_no_requirement_is_the_bare_name(folder: Path) -> None:
    """``popframe`` as a requirement would fetch a stranger's code."""
    names = [
        re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0] for requirement in requirements_of(folder)
    ]

    assert read_metadata(folder)["name"] != "popframe"
    assert "popframe" not in [re.sub(r"[-_.]+", "-", name).lower() for name in names]


def test_no_text_tells_anyone_to_install_the_bare_name() -> None:
    """A command that a reader copies must not fetch a stranger's code either."""
    rooms = ["popframe", "plugins", "docs", "examples", "packaging"]
    texts = sorted(CHECKOUT.glob("*.md")) + [path for room in rooms for path in sorted((CHECKOUT / room).rglob("*.*"))]
    found = [
        f"{path.relative_to(CHECKOUT)}: {match.group()}"
        for path in texts
        if path.suffix in {".md", ".py", ".toml", ".txt", ".service", ".rst"}
        for match in INSTALLS_THE_BARE_NAME.finditer(path.read_text("utf-8"))
    ]

    assert CHECKOUT / "README.md" in texts
    assert found == []


@pytest.mark.parametrize(
    ("text", "is_bad"),
    [
        ("pip install popframe", True),
        ("Run `pip install popframe` first", True),
        ("pip install -U popframe[test]", True),
        ("pip install 'popframe>=0.1'", True),
        ("pip install popframe-auth-file popframe", True),
        ("uv pip install popframe.", True),
        ("pipx run popframe serve", True),
        ("pip install popframe-server", False),
        ("pip install popframe_server-0.1.0-py3-none-any.whl", False),
        ("pip install popframe-auth-pam, then start popframe", False),
        ("`pip install popframe-auth-pam`, then start popframe", False),
        ("pip install ./popframe", False),
    ],
)
def test_bare_name_is_told_from_our_names(text: str, is_bad: bool) -> None:
    """The pattern that the test above relies on finds what it should, and nothing else on a command line."""
    assert bool(INSTALLS_THE_BARE_NAME.search(text)) is is_bad
