"""Which network a command talks to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fluxcloud.cli.context import Context, find_data_dir, find_session_dir, load_context, read_context
from fluxcloud.cli.output import UNREACHABLE, USAGE, CliError
from fluxcloud.errors import ConfigError

LOCAL = Context("local", "http://127.0.0.1:26659", "127.0.0.1:8080", "z", "/k", "/g", "/data")
FAR = Context("far", "https://rpc.example:443", "gw.example:443", "flux.example", "/far.key", "/far.json")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLUXCLOUD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("FLUXCLOUD_CONTEXT", raising=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/context.toml").write_text(LOCAL.render())
    contexts = tmp_path / "config/fluxcloud/contexts"
    contexts.mkdir(parents=True)
    (contexts / "far.toml").write_text(FAR.render())
    return tmp_path


def test_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_context(None) == LOCAL
    assert load_context("far") == FAR
    monkeypatch.setenv("FLUXCLOUD_CONTEXT", "far")
    assert load_context(None) == FAR
    assert load_context("local") == LOCAL


def test_missing__says_what_to_run(home: Path) -> None:
    (home / "data/context.toml").unlink()
    with pytest.raises(CliError) as error:
        load_context(None)
    assert (error.value.exit_code, error.value.hints) == (UNREACHABLE, ("fluxcloud up",))
    with pytest.raises(CliError, match="no context 'other'") as error:
        load_context("other")
    assert error.value.exit_code == USAGE


@pytest.mark.parametrize("name", ["../far", "/etc/passwd", "a\0b"])
def test_name__is_no_path(name: str) -> None:
    with pytest.raises(CliError, match="is no name of a context") as error:
        load_context(name)
    assert error.value.exit_code == USAGE


@pytest.mark.parametrize("text", ["x", 'name = "local"\n', LOCAL.render() + 'more = "1"\n'])
def test_file_that_is_wrong__is_named(home: Path, text: str) -> None:
    path = home / "data/context.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_context(path)
    assert str(path) in str(error.value)


def test_data_of_a_context_is_optional(home: Path) -> None:
    path = home / "context.toml"
    path.write_text("".join(line + "\n" for line in FAR.render().splitlines() if not line.startswith("data")))
    assert read_context(path) == FAR


def test_folders(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_data_dir() == home / "data"
    assert find_session_dir(LOCAL) == Path("/data/sessions")
    assert find_session_dir(replace(LOCAL, data="", name="far")) == home / "state/fluxcloud/sessions/far"
    monkeypatch.delenv("FLUXCLOUD_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", "/share")
    assert find_data_dir() == Path("/share/fluxcloud/local")
