"""A wrong command line: told in the form of all errors, as JSON where that was asked, with what to do."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from fluxcloud.cli.common import DEBUG, verb
from fluxcloud.cli.copies import exec_command
from fluxcloud.cli.main import main
from fluxcloud.cli.output import Output


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["bogus"], "No such command 'bogus'. Did you mean 'logs'?", "fluxcloud --help"),
        (["deploy", "--nmae", "x"], "No such option '--nmae'. Did you mean '--name'?", "fluxcloud deploy --help"),
        (["scale", "hello", "0"], "0 is not in the range 1<=x<=100", "fluxcloud scale --help"),
        (["node", "drain"], "Missing argument 'NAME'", "fluxcloud node drain --help"),
        (["status", "--wait", "nan"], "nan is no number of seconds", "fluxcloud status --help"),
        (["status", "--wait", "-1"], "-1.0 is not in the range", "fluxcloud status --help"),
    ],
)
def test_usage_errors(words: list[str], said: str, hint: str) -> None:
    told = CliRunner().invoke(main, [*words, "--json"], prog_name="fluxcloud")
    assert told.exit_code == 2
    error = json.loads(told.stdout)
    assert (error["schema"], error["code"], error["try"], error["exit"]) == ("error/1", "cli/2", [hint], 2)
    assert said in error["message"]
    plain = CliRunner().invoke(main, words, prog_name="fluxcloud")
    assert (plain.stdout, plain.exit_code) == ("", 2)
    assert plain.stderr.startswith("error[cli/2]: ")


def test_group_alone__shows_its_help() -> None:
    told = CliRunner().invoke(main, ["app"], prog_name="fluxcloud")
    assert told.exit_code == 2
    assert "undelete" in told.output


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/data/x"), "No space left on device: '/data/x'"),
        (KeyError("a"), "unexpected: KeyError: 'a'"),
    ],
)
def test_failure_nobody_thought_of__is_no_traceback_unless_asked(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @verb
    async def broken(output: Output) -> None:
        raise error

    monkeypatch.delenv(DEBUG, raising=False)
    with pytest.raises(SystemExit) as ended:
        broken(as_json=False, quiet=False)
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert told.startswith("error[cli/1]: ")
    assert said in told
    assert "Traceback" not in told
    monkeypatch.setenv(DEBUG, "1")
    with pytest.raises(SystemExit):
        broken(as_json=False, quiet=False)
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["shop", "sh", "-c", "id"],
        ["shop", "--", "sh", "-c", "id"],
        ["shop", "--slot", "1", "--", "sh", "-c", "id"],
        ["--slot=1", "shop", "sh", "-c", "id"],
        ["--json", "shop", "--slot", "1", "sh", "-c", "id"],
    ],
)
def test_exec__what_is_the_commands(words: list[str]) -> None:
    with exec_command.make_context("exec", words) as context:
        assert (context.params["app"], context.params["command"]) == ("shop", ("sh", "-c", "id"))
