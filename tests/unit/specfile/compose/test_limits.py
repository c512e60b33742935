"""Compose files that try to hurt, and data of any shape: problems, never tracebacks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxcloud.specfile.compose.convert import Converted, Options, convert_compose
from fluxcloud.specfile.compose.keys import RULES
from fluxcloud.specfile.reader import InvalidSpec
from fluxcloud.specfile.stateful import NeedsChoice
from fluxcloud.specfile.yaml_data import load_yaml

WEB = {"services": {"web": {"image": "example/web:1", "ports": ["80:80"]}}}


def convert(data: Any, folder: Path, **environment: str) -> Converted:
    result = convert_compose(data, folder, environment)
    assert isinstance(result, Converted)
    return result


def problems(data: Any, folder: Path, **environment: str) -> list[str]:
    with pytest.raises(InvalidSpec) as caught:
        convert(data, folder, **environment)
    return [str(problem) for problem in caught.value.problems]


def test_too_many_services(tmp_path: Path) -> None:
    data = {"services": {f"s{number}": {"image": "x"} for number in range(11)}}
    assert problems(data, tmp_path)[0].startswith("services: 11 services; an app has at most 10 components")
    data = {"services": {f"s{number}": {"image": "x"} for number in range(101)}}
    assert problems(data, tmp_path)[0] == "services: 101 of them; at most 100 are read"


def test_extends_too_deep(tmp_path: Path) -> None:
    services: dict[str, Any] = {f"s{number}": {"extends": f"s{number + 1}"} for number in range(20)}
    services["s20"] = {"image": "x"}
    assert any("extends more than 10 services" in problem for problem in problems({"services": services}, tmp_path))


def test_includes_too_many_files(tmp_path: Path) -> None:
    for number in range(25):
        (tmp_path / f"{number}.yaml").write_text("services: {}")
    data = {**WEB, "include": [f"{number}.yaml" for number in range(25)]}
    assert problems(data, tmp_path)[0] == "include[20]: more than 20 files belong to this one"


def test_include_that_includes_itself(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("include: [b.yaml]")
    (tmp_path / "b.yaml").write_text("include: [a.yaml]")
    assert problems({**WEB, "include": ["a.yaml"]}, tmp_path) == [
        "include[0].include[0].include[0]: includes in a circle: a.yaml -> b.yaml -> a.yaml"
    ]


def test_env_file_too_large(tmp_path: Path) -> None:
    (tmp_path / "big.env").write_text("A=" + "x" * 70_000)
    data = {"services": {"web": {"image": "x", "env_file": "big.env"}}}
    assert problems(data, tmp_path) == ["services.web.env_file[0]: big.env is larger than 64 KiB"]


def test_project_env_file_with_a_mistake(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\n???")
    assert problems(WEB, tmp_path) == [".env: line 2: expected NAME=value"]


def test_links_lead_nowhere_outside(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("no")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "link.env").symlink_to(tmp_path / "secret")
    (folder / "data").symlink_to(tmp_path)
    data = {
        "services": {"web": {"image": "x", "env_file": "link.env", "volumes": ["./data:/data:ro", "./data/secret:/s"]}}
    }
    assert problems(data, folder) == [
        "services.web.volumes[0]: ./data is outside the app's folder",
        "services.web.volumes[1]: ./data/secret is outside the app's folder",
        "services.web.env_file[0]: link.env is outside the app's folder",
    ]


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    data = {"services": {"web": {"image": "x", "env_file": "pipe", "volumes": ["./pipe:/pipe"]}}}
    assert problems(data, tmp_path) == [
        "services.web.volumes[0]: ./pipe is no file",
        "services.web.env_file[0]: pipe is no file",
    ]


def test_bound_files_too_large(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.conf").write_text("x" * 10_000)
    data = {"services": {"web": {"image": "x", "volumes": [f"./{number}.conf:/{number}" for number in range(3)]}}}
    assert problems(data, tmp_path) == [
        "services.web.volumes: 3 files, 30000 bytes; allowed: 32 files and 24 KiB in all; carry more in the image"
    ]


def test_bomb_in_an_extended_file(tmp_path: Path) -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(8)
    )
    (tmp_path / "bomb.yaml").write_text(bomb)
    data = {"services": {"web": {"extends": {"file": "bomb.yaml", "service": "web"}}}}
    assert problems(data, tmp_path)[0].startswith("services.web.extends: bomb.yaml: more than 20000 values")


def test_what_the_ledger_would_refuse_is_told_by_the_files_path(tmp_path: Path) -> None:
    data = {"services": {"My_App": {"image": "with blank", "ports": ["80"]}}}
    assert problems(data, tmp_path) == ["services.My_App.image: with blank; allowed: printable ASCII without blanks"]


def test_secrets_in_env_need_a_word(tmp_path: Path) -> None:
    data = {"services": {"web": {"image": "x", "environment": {"API_TOKEN": "abc", "USE_TOKEN": "true"}}}}
    assert "x-fluxcloud: {public_env: [API_TOKEN]}" in problems(data, tmp_path)[0]
    result = convert_compose(data, tmp_path, {}, options=Options(public_env=frozenset(("API_TOKEN",))))
    assert isinstance(result, Converted)
    assert dict(result.spec.groups[0].components[0].env)["API_TOKEN"] == "abc"


@pytest.mark.parametrize(
    "data", [None, [], "text", 5, {}, {"services": None}, {"services": []}, {"services": {"a": None}}]
)
def test_what_is_no_compose_file(data: Any, tmp_path: Path) -> None:
    assert problems(data, tmp_path)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 70_000),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.sampled_from(
        ["80:80", "./a:/b", "a:/b:ro", "1m", "${A}", "${A", "$$", "CMD", "web", "other", "service_healthy", "/", ".."]
    ),
)
names = sorted({part.removesuffix("[]") for path in RULES for part in path.split(".") if part != "*"})
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(names), st.text(max_size=4)), inner, max_size=4),
    ),
    max_leaves=12,
)
service_keys = sorted({path.split(".")[2].removesuffix("[]") for path in RULES if path.startswith("services.*.")})
services = st.dictionaries(st.sampled_from([*service_keys, "x-fluxcloud"]), values, max_size=6).map(
    lambda service: {"image": "redis:7", **service}
)
files = st.fixed_dictionaries(
    {"services": st.dictionaries(st.sampled_from(["web", "other", "My_App"]), services, max_size=3)},
    optional={
        key: values
        for key in ("volumes", "networks", "configs", "include", "name", "secrets", "x-fluxcloud", "models", "version")
    },
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=files)
def test_data_of_any_shape_is_converted_or_refused(data: Any, tmp_path: Path) -> None:
    result: Any
    try:
        result = convert_compose(data, tmp_path, {"A": "b"})
    except InvalidSpec as error:
        result = error.problems
    assert result
    assert isinstance(result, Converted | NeedsChoice | list)


def test_merge_tags_are_read() -> None:
    assert "!reset" in repr(load_yaml(b"a: !reset null", merge_tags=True))
