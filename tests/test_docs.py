"""The documents tell the truth: links lead somewhere, examples are accepted, tables are complete."""

from __future__ import annotations

import argparse
import importlib
import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from popframe.config import (
    AbuseSettings,
    LoginSettings,
    LogSettings,
    Pop3Settings,
    ProxySettings,
    ServerSettings,
    TraceSettings,
)
from popframe.config.tls import CertificateSettings, TlsSettings
from popframe.server import startup

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("plugins/*/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path, language: str) -> list[str]:
    """Return the code blocks of one language; none where there is no checkout."""
    if not document.exists():
        return []
    return [text for name, text in BLOCK.findall(document.read_text("utf-8")) if name == language]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(document: Path) -> None:
    """Every relative link names a file of the checkout."""
    links = LINK.findall(document.read_text("utf-8"))

    assert [link for link in links if "://" not in link and not (document.parent / link).exists()] == []


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", ROOT / "docs" / "configuration.md"], ids=lambda path: path.name
)
def test_example_configurations_are_accepted(document: Path, tmp_path: Path) -> None:
    """A reader who copies an example gets no error."""
    examples = [text for text in blocks(document, "toml") if "[plugin." in text]
    assert examples

    for text in examples:
        path = tmp_path / "popframe.toml"
        path.write_text(text)
        assert startup.check(path).server.run_as == "mail"


@pytest.mark.parametrize("example", sorted(ROOT.glob("examples/*.toml")), ids=lambda path: path.name)
def test_example_files_are_accepted(example: Path, tmp_path: Path) -> None:
    """What lies in examples/ can be used as it is, where the certificate is that it names."""
    certificate = tmp_path / "server.pem"
    certificate.touch()
    path = tmp_path / "popframe.toml"
    path.write_text(
        re.sub(r'^certificate = "[^"]+"', f'certificate = "{certificate}"', example.read_text(), flags=re.M)
    )

    assert startup.check(path).plugins


def test_the_example_in_the_readme_has_about_ten_lines() -> None:
    """The README promises a configuration of ten lines."""
    lines = [line for line in blocks(ROOT / "README.md", "toml")[0].splitlines() if line.strip()]

    assert len(lines) <= 10


@pytest.mark.parametrize(
    "example", [text for text in blocks(ROOT / "docs" / "plugins.md", "python") if "class " in text]
)
def test_plugins_of_the_guide_can_be_imported(example: str) -> None:
    """Every plugin in docs/plugins.md is whole as it stands; tests/e2e/test_readme.py uses them."""
    names: dict[str, object] = {}
    exec(compile(example, "docs/plugins.md", "exec"), names)  # noqa: S102 - running the documentation is the point

    assert any(isinstance(value, type) for value in names.values())


def test_the_subcommand_of_the_guide_reads_its_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example of a tool in docs/plugins.md works with the settings of the guide."""
    examples = blocks(ROOT / "docs" / "plugins.md", "python")
    plugin = next(text for text in examples if "class Settings(PluginSettings)" in text)
    (tmp_path / "popframe_lab_accounts.py").write_text(plugin)
    (tmp_path / "lab_command.py").write_text(next(text for text in examples if "def add_arguments" in text))
    (tmp_path / "people").write_text("alice\nbob\n")
    configuration = tmp_path / "popframe.toml"
    configuration.write_text('plugins = ["lab_accounts"]\n[plugin.lab_accounts]\npath = "people"\n')
    monkeypatch.syspath_prepend(tmp_path)
    parser = argparse.ArgumentParser()
    command = importlib.import_module("lab_command")
    command.add_arguments(parser)

    assert command.run(parser.parse_args(["--config", str(configuration)])) == 0
    assert capsys.readouterr().out == "2\n"


@pytest.mark.parametrize(
    ("table", "model"),
    [
        ("server", ServerSettings),
        ("login", LoginSettings),
        ("tls", TlsSettings),
        ("proxy", ProxySettings),
        ("[tls.hosts]", CertificateSettings),
        ("abuse", AbuseSettings),
        ("pop3", Pop3Settings),
        ("log", LogSettings),
        ("trace", TraceSettings),
    ],
)
def test_every_setting_is_documented_as_it_is(table: str, model: type[BaseModel]) -> None:
    """docs/configuration.md has each setting with its default and its description, and no other."""
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    section = text.split(f"## `[{table}]`\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]

    assert rows == [row(name, model) for name in model.model_fields]


@pytest.mark.parametrize(
    ("plugin", "settings"),
    [
        ("auth_pam", "AuthPamSettings"),
        ("bulletin", "Settings"),
        ("session_stats", "SessionStatsSettings"),
        ("store_mbox", "Settings"),
        ("xtnd", "Settings"),
    ],
)
def test_every_setting_of_a_plugin_is_documented(plugin: str, settings: str) -> None:
    """The plugin's README has a row for each setting."""
    text = (ROOT / "plugins" / plugin / "README.md").read_text("utf-8")
    model = getattr(importlib.import_module(f"popframe_{plugin}"), settings)

    assert re.findall(r"^\| `(\w+)` \| .* \| .* \|$", text, re.MULTILINE) == list(model.model_fields)


def row(name: str, model: type[BaseModel]) -> str:
    """Return the row that a setting should have."""
    field = model.model_fields[name]
    default = "none" if field.default is None else f"`{json.dumps(field.default, default=str)}`"
    if field.is_required():
        default = "required"
    return f"| `{name}` | {default} | {field.description} |"
