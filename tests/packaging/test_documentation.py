"""What the documents say is there: files, commands, options, settings, and the example as it stands."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from latentspeed.connectors.dydx_v4.config import DydxConfig
from latentspeed.connectors.hyperliquid.config import HyperliquidConfig
from latentspeed.engine.config import load_config
from latentspeed.tools.cli import COMMANDS, run_command_line
from latentspeed.tools.lazy_group import Group

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([\w.-]+(?:/[\w.-]+)+)`")
TOP_FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()}


def blocks(page: Path, language: str) -> list[str]:
    return [
        "\n".join(line.removeprefix(indent) for line in text.splitlines()) + "\n"
        for indent, found, text in BLOCK.findall(page.read_text())
        if found == language
    ]


def commands(page: Path) -> list[str]:
    """Every `latentspeed ...` of a page: lines of its code blocks and inline code."""
    text = page.read_text()
    lines = [line for block in blocks(page, "") for line in block.splitlines()]
    inline = re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
    words = [re.sub(r"\s+#.*", "", line).strip() for line in [*lines, *inline]]
    return [word.removeprefix(".venv/bin/") for word in words if re.match(r"(\.venv/bin/)?latentspeed [a-z]", word)]


def command_names() -> dict[str, str]:
    """Each command of the command line, groups' commands with both words."""
    names = {}
    for name, command in COMMANDS.items():
        if isinstance(command, Group):
            names |= {f"{name} {below}": name for below in command.commands}
        names[name] = name
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_in_a_page_exists(page, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    known = sorted(command_names(), key=len, reverse=True)
    for line in commands(page):
        words = line.removeprefix("latentspeed ")
        name = next((name for name in known if words == name or words.startswith(name + " ")), None)
        assert name is not None, f"{page.name}: no command {line!r}"
        run_command_line([*name.split(), "--help"])
        help_text = capfd.readouterr().out
        for option in re.findall(r"(?<!\S)--[a-z-]+", words):
            assert option in help_text, f"{page.name}: {line!r} has an option that `{name}` does not know"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page):
    text = page.read_text()
    named = {name for name in FILE.findall(text) if name.split("/")[0] in TOP_FOLDERS}
    linked = {target.split("#")[0] for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", text)}
    missing = [name for name in named if not (ROOT / name).exists()]
    missing += [target for target in linked if not (page.parent / target).exists()]
    assert not missing, f"{page.name} names what is not there: {missing}"


def test_the_first_strategy_in_the_readme_is_the_example():
    assert (ROOT / "examples" / "quoter.py").read_text() in blocks(ROOT / "README.md", "python")


def test_the_config_in_the_readme_is_the_example_without_its_comments():
    example = (ROOT / "examples" / "testnet.toml").read_text()
    settings = re.sub(r"\A(#[^\n]*\n|\n)+", "", example)
    assert settings in blocks(ROOT / "README.md", "toml")


@pytest.mark.parametrize("config", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.name)
def test_every_example_config_is_read_without_complaint(config):
    loaded = load_config(config)
    assert [strategy.script.name for strategy in loaded.strategies] == ["quoter.py"]


def test_every_make_target_that_a_page_names_is_there():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z]+)`", page.read_text()))
        named |= {word for block in blocks(page, "") for word in re.findall(r"^make ([a-z]+)", block, re.MULTILINE)}
        assert named <= targets, f"{page.name} names {named - targets}"


MINIMAL = """
[engine]
name = "x"
[connectors.c]
type = "t"
domain = "d"
secret_env = "V"
[[strategies]]
name = "s"
module = "m"
[[process]]
name = "p"
command = ["true"]
"""


def test_every_setting_of_a_config_is_documented_with_its_default(tmp_path):
    (tmp_path / "x.toml").write_text(MINIMAL)
    config = load_config(tmp_path / "x.toml")
    connector = config.connectors["c"]
    sections = [config.engine, connector, connector.shared_memory, config.strategies[0], config.processes[0]]
    parts = re.split(r"^## .*$", (ROOT / "docs" / "configuration.md").read_text(), flags=re.MULTILINE)[1:]
    for settings, part in zip(sections, parts, strict=True):
        rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", part, re.MULTILINE))
        fields = {field.name for field in dataclasses.fields(settings)} - {"name"}
        assert set(rows) - {"name"} == fields, type(settings).__name__
        for name, cell in rows.items():
            if not cell.startswith("`"):
                continue
            default = tomllib.loads(f"x = {cell.strip('`')}")["x"]
            actual = getattr(settings, name)
            if isinstance(default, list):
                default = tuple(default)
            if isinstance(actual, Path):
                default = Path(default).expanduser()
            assert actual == default or (default == {} and name == "shared_memory"), f"{name}: {actual!r}, not {cell}"


@pytest.mark.parametrize(
    ("page", "config"), [("hyperliquid-options.md", HyperliquidConfig), ("dydx_v4.md", DydxConfig)]
)
def test_every_option_of_a_connector_is_documented_with_its_default_and_unit(page, config):
    text = (ROOT / "docs" / page).read_text()
    table = text[text.index("| option | default | unit |") :].partition("\n\n")[0]
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\| `.*", table, re.MULTILINE)]
    rows = {row[0].strip("`"): row[1:] for row in cells}
    fields = {field.name: field.default for field in dataclasses.fields(config)}
    assert list(rows) == list(fields)
    for name, (default, unit, _) in rows.items():
        if default.startswith("`") and name != "socket_timing":
            value = tomllib.loads(f"x = {default.strip('`')}")["x"]
            assert (tuple(value) if isinstance(value, list) else value) == fields[name], f"{name}: not {default}"
        else:
            assert fields[name] in (None, dataclasses.MISSING), f"{name} is {fields[name]!r}"
        if suffix := re.search(r"_(s|ms|blocks)$", name):
            assert unit == suffix[1], f"{name} in {unit!r}"


def test_the_readme_leads_to_every_page():
    linked = set(re.findall(r"\]\((docs/[\w.-]+\.md)", (ROOT / "README.md").read_text()))
    assert linked == {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}


def test_every_heading_that_a_page_links_to_is_there():
    for page in PAGES:
        for target, heading in re.findall(r"\]\(([\w./-]*\.md|)#([\w-]+)\)", page.read_text()):
            linked = page.parent / target if target else page
            names = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in names}
            assert heading in anchors, f"{page.name} links to #{heading} of {linked.name}"
