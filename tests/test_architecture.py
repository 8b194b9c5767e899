"""The rules of the house that no linter checks: who may import what, what a hook says, how long a module may be.

The layers inside the core are import-linter's (``make check``); here is what its contracts cannot express.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import popframe
from popframe import hookspecs

pytestmark = pytest.mark.checkout

CHECKOUT = Path(__file__).resolve().parent.parent
CORE = CHECKOUT / "popframe"
PLUGIN_FOLDERS = sorted(path.parent for path in (CHECKOUT / "plugins").glob("*/pyproject.toml"))

OUTSIDE = {
    *("asyncio", "select", "selectors", "signal", "socket", "ssl"),
    *("logging", "os", "subprocess", "threading", "time"),
    *("pluggy", "random"),
}
"""What the engine must do without: it gets octets, and asks its backend for everything else."""

VAGUE_NAMES = {"base", "common", "core", "helper", "helpers", "manager", "misc", "util", "utils"}
"""Names that say nothing of what is inside, so that everything ends up there."""

MAX_MODULE_LINES = 400
"""Twice what a module should have: beyond that it holds two things that deserve a name each."""

HOOKS: list[Callable[..., object]] = [
    function
    for name, function in vars(hookspecs).items()
    if name.startswith("popframe_") and inspect.isfunction(function)
]
each_hook = pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.__name__)


@dataclass(frozen=True)
class Import:
    """One name that a module imports: ``import module``, or ``from module import name``."""

    path: Path
    line: int
    module: str
    name: str = ""

    def __str__(self) -> str:
        """Say where it is and what it says, as an editor can jump to it."""
        words = f"from {self.module} import {self.name}" if self.name else f"import {self.module}"
        return f"{self.path.relative_to(CHECKOUT)}:{self.line}: {words}"


def imports_of(path: Path, root: Path) -> Iterator[Import]:
    """Yield every import of a module, wherever in it: at the top, in a function, under TYPE_CHECKING.

    Args:
        path: The module's file.
        root: The folder that is on ``sys.path`` for it, to resolve relative imports.
    """
    package = path.relative_to(root).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (Import(path, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (Import(path, node.lineno, module, alias.name) for alias in node.names)


def modules_in(folder: Path) -> list[Path]:
    """Return every Python file below a folder."""
    return sorted(folder.rglob("*.py"))


def core_files(imported: Import) -> Iterator[Path]:
    """Yield the files of the core that an import runs, its root package left out: it imports everything."""
    for dotted in {imported.module, f"{imported.module}.{imported.name}"} - {"popframe"}:
        stem = CHECKOUT.joinpath(*dotted.split("."))
        yield from (path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_relative_to(CORE))


def test_engine_reaches_nothing_outside() -> None:
    """The engine, and whatever of the core it imports, knows no socket, clock, file, thread or plugin."""
    waiting = modules_in(CORE / "engine")
    seen: set[Path] = set()
    violations = []
    assert waiting
    while waiting:
        path = waiting.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        for imported in imports_of(path, CHECKOUT):
            waiting += core_files(imported)
            if imported.module.partition(".")[0] in OUTSIDE:
                violations.append(str(imported))

    assert violations == []


def test_core_never_imports_through_its_own_front_door() -> None:
    """``from popframe import …`` inside the core would be an import of every layer at once.

    Only ``popframe.testing`` may: it is written as a plugin author would write it.
    """
    violations = [
        str(imported)
        for path in modules_in(CORE)
        if not path.is_relative_to(CORE / "testing")
        for imported in imports_of(path, CHECKOUT)
        if imported.module == "popframe" and (not imported.name or imported.name in popframe.__all__)
    ]

    assert violations == []


def is_foreign_to_plugins(imported: Import, own_package: str) -> bool:
    """Tell whether a plugin reaches past the public names, or into another plugin."""
    top = imported.module.partition(".")[0]
    if imported.module in {"popframe", "popframe.testing"}:
        public = importlib.import_module(imported.module).__all__
        return imported.name not in {*public, "testing"}
    return top in {"popframe", "plugins", "tests"} or (top.startswith("popframe_") and top != own_package)


@pytest.mark.parametrize("folder", PLUGIN_FOLDERS, ids=lambda folder: folder.name)
def test_plugin_imports_only_public_names(folder: Path) -> None:
    """A plugin has no privilege that a stranger's plugin lacks, and leans on no other plugin."""
    own_package = f"popframe_{folder.name}"
    modules = modules_in(folder / own_package)
    violations = [
        str(imported)
        for path in modules
        for imported in imports_of(path, folder)
        if is_foreign_to_plugins(imported, own_package)
    ]

    assert modules
    assert violations == []


@each_hook
def test_hook_says_its_kind_and_behaves_so(hook: Callable[..., object]) -> None:
    """The first word of a hook's contract is its kind, and only a Decide hook stops at the first answer."""
    docstring = inspect.getdoc(hook) or ""
    kind = docstring.partition(":")[0]
    specification = getattr(hook, "popframe_spec", None)

    assert kind in {"Decide", "Check", "Collect", "Report"}
    assert specification is not None
    assert specification["firstresult"] is (kind == "Decide")
    assert specification["historic"] is False


@each_hook
def test_hook_is_fully_annotated(hook: Callable[..., object]) -> None:
    """Whoever implements a hook gets its types from the specification."""
    hints = typing.get_type_hints(hook)

    assert set(hints) == {*inspect.signature(hook).parameters, "return"}


@each_hook
def test_hook_is_tested_and_explained(hook: Callable[..., object]) -> None:
    """Every hook is named in at least one test, and in the guide for plugin authors."""
    name = re.compile(rf"\b{hook.__name__}\b")
    tests = [path for path in modules_in(CHECKOUT / "tests") if name.search(path.read_text("utf-8"))]

    assert tests
    assert name.search((CHECKOUT / "docs" / "plugins.md").read_text("utf-8"))


def as_sorted_by_ruff(names: list[str]) -> list[str]:
    """Sort as rule RUF022 does: CONSTANTS, then Classes, then the rest; digits by value."""

    def key(name: str) -> tuple[int, list[tuple[bool, int, str]]]:
        kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
        return kind, [
            (not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)
        ]

    return sorted(names, key=key)


@pytest.mark.parametrize("package", ["popframe", "popframe.testing"])
def test_public_names_exist_and_are_sorted(package: str) -> None:
    """``__all__`` is the promise to plugin authors: each name is there, once, where one looks for it."""
    module = importlib.import_module(package)
    names: list[str] = module.__all__

    assert [name for name in names if not hasattr(module, name)] == []
    assert names == as_sorted_by_ruff(sorted(set(names)))


def test_importing_popframe_imports_no_library() -> None:
    """Whatever imports one of its modules imports the package too, some of them for every client or every login."""
    program = "import sys, popframe; print(*sys.modules.keys() & {'pydantic', 'pluggy', 'tomllib', 'popframe.config'})"
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert result.stdout == "\n"


def test_no_file_or_folder_has_a_vague_name() -> None:
    """A reader finds a thing by the name of its file."""
    rooms = ["popframe", "plugins", "tests", "examples", "benchmarks", "packaging", "docs"]
    vague = [
        str(path.relative_to(CHECKOUT))
        for room in rooms
        for path in sorted((CHECKOUT / room).rglob("*"))
        if path.stem.strip("_") in VAGUE_NAMES and (path.is_dir() or path.suffix == ".py")
    ]

    assert vague == []


def test_no_module_is_too_long() -> None:
    """A module that must be scrolled for long is split by what it holds."""
    lengths = {
        str(path.relative_to(CHECKOUT)): len(path.read_bytes().splitlines())
        for folder in [CORE, *PLUGIN_FOLDERS]
        for path in modules_in(folder)
    }

    assert {path: lines for path, lines in lengths.items() if lines > MAX_MODULE_LINES} == {}
