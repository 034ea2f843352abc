"""The command line itself: quick, one line per error, commands by table."""

from __future__ import annotations

import subprocess
import sys

import pytest

from latentspeed.tools import cli
from latentspeed.tools.cli import COMMANDS, run_command_line
from latentspeed.tools.lazy_group import Command, Group


def commands(table=COMMANDS, prefix=()):
    for name, entry in table.items():
        if isinstance(entry, Group):
            yield from commands(entry.commands, (*prefix, name))
        else:
            yield (*prefix, name), entry


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_lists_every_command_and_imports_none(arguments):
    program = (
        "import sys\n"
        "from latentspeed.tools.cli import run_command_line\n"
        "assert run_command_line(sys.argv[1:]) == 0\n"
        "slow = {'numpy', 'aiohttp', 'uvloop', 'msgspec', 'rich', 'eth_account', 'latentspeed.engine'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments], capture_output=True, text=True, timeout=240, check=False
    )
    assert run.returncode == 0, run.stderr
    for name, entry in COMMANDS.items():
        assert name in run.stdout
        assert entry.summary in run.stdout


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_every_command_in_the_table_is_there_and_has_its_own_help(path, capsys):
    assert run_command_line([*path, "--help"]) == 0
    assert f"Usage: latentspeed {' '.join(path)}" in capsys.readouterr().out


@pytest.mark.parametrize("summary", [entry.summary for entry in COMMANDS.values()])
def test_a_summary_is_one_sentence(summary):
    assert summary.endswith(".")
    assert len(summary) <= 65


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], "latentspeed: No such command 'rum'. Did you mean 'run'? Try 'latentspeed --help'."),
        (["--fast"], "latentspeed: No such option: --fast"),
        (["run"], "latentspeed run: Missing argument '"),
        (["profile", "maker", "--seconds", "none"], "latentspeed profile: Invalid value for '--seconds'"),
    ],
)
def test_a_wrong_call_is_one_line_and_code_two(arguments, message, capsys):
    assert run_command_line(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1


def test_an_error_of_ours_is_one_line_without_a_traceback(tmp_path, capsys):
    assert run_command_line(["run", str(tmp_path / "absent.toml")]) == 1
    expected = f"latentspeed: {tmp_path}/absent.toml: cannot be read: No such file or directory\n"
    assert capsys.readouterr() == ("", expected)


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "broken", Command("json:no_such_name", "Is broken."))
    with pytest.raises(AttributeError):
        run_command_line(["broken"])


def test_a_group_needs_one_of_its_commands(monkeypatch, capsys):
    group = Group({"inner": Command("latentspeed.tools.status:status", "Is inside.")}, "Has commands.")
    monkeypatch.setitem(cli.COMMANDS, "outer", group)
    assert run_command_line(["outer", "--help"]) == 0
    assert "Is inside." in capsys.readouterr().out
    assert run_command_line(["outer"]) == 2
    assert capsys.readouterr().err == "latentspeed outer: Missing command. Try 'latentspeed outer --help'.\n"
    assert run_command_line(["outer", "inner", "--help"]) == 0


def test_the_version_is_that_of_the_distribution(capsys):
    from importlib.metadata import version

    assert run_command_line(["--version"]) == 0
    assert capsys.readouterr().out == f"latentspeed {version('latentspeed')}\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    program = "from latentspeed.tools.cli import main; main(['--help'])"
    command = f"'{sys.executable}' -P -c \"{program}\" | true"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=240, check=False)
    assert run.stderr == ""
