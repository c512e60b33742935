"""`fluxcloud spec …` and `fluxcloud init`: what they print, what they write, how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fluxcloud.cli.init import init_command
from fluxcloud.cli.spec import spec_command
from fluxcloud.ledger.apps.bounds import validate_spec
from fluxcloud.ledger.apps.spec import Component, Spec
from fluxcloud.specfile.reader import read_spec
from fluxcloud.specfile.schema import build_schema
from fluxcloud.specfile.yaml_data import load_yaml

GOOD = "name: shop\ncomponents: {app: {image: ./shop.tar, ports: {http: 8080}}}\n"
COMPOSE = "name: shop\nservices:\n  web: {image: 'example/web:1', ports: ['80:8080'], tty: true}\n"
DATABASE = "name: shop\nservices:\n  db: {image: 'postgres:16'}\n"


def run_spec(*argv: object) -> Result:
    return CliRunner().invoke(spec_command, [str(word) for word in argv])


def run_init(*argv: object) -> Result:
    return CliRunner().invoke(init_command, [str(word) for word in argv])


def read_written(folder: Path) -> Spec:
    spec = read_spec(load_yaml((folder / "fluxcloud.yaml").read_bytes()), folder=folder)
    validate_spec(spec)
    return spec


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


# --- validate ---------------------------------------------------------------------------------------------------------


def test_validate__good_file(tmp_path: Path) -> None:
    result = run_spec("validate", write(tmp_path, fluxcloud_yaml=GOOD))
    assert (result.exit_code, result.stdout) == (
        0,
        f"{tmp_path}/fluxcloud.yaml is right: shop, 1 components x 3 copies\n",
    )


def test_validate__json(tmp_path: Path) -> None:
    text = GOOD + "replicas: 2\n"
    body = json.loads(run_spec("validate", write(tmp_path, fluxcloud_yaml=text), "--json").stdout)
    assert body == {
        "schema": "spec-validate/1",
        "file": f"{tmp_path}/fluxcloud.yaml",
        "format": "fluxcloud/1",
        "valid": True,
        "problems": [],
        "notes": [
            {"kind": "kept", "path": "groups.main.replicas", "text": "2 is not redundant: a node's death is felt"}
        ],
        "app": {"name": "shop", "groups": {"main": {"replicas": 2, "components": 1}}},
    }


def test_validate__problems(tmp_path: Path) -> None:
    folder = write(tmp_path, fluxcloud_yaml="name: shop\ncomponents: {app: {imag: x, cpu: fast}}\n")
    result = run_spec("validate", folder)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(
        "error[spec/2]: fluxcloud.yaml has 3 problems\n  why   components.app.imag: unknown key"
    )
    body = json.loads(run_spec("validate", folder, "--json").stdout)
    assert body["valid"] is False
    assert [problem["path"] for problem in body["problems"]] == [
        *("components.app.imag", "components.app.cpu", "components.app.image")
    ]


def test_validate__bounds_of_the_ledger(tmp_path: Path) -> None:
    result = run_spec("validate", write(tmp_path, fluxcloud_yaml=GOOD + "replicas: 101\n"))
    assert result.exit_code == 2
    assert "groups.main.replicas: 101; allowed: 1..100" in result.stderr


def test_validate__compose_file_of_another_name(tmp_path: Path) -> None:
    result = run_spec("validate", write(tmp_path, stack_yml=COMPOSE) / "stack.yml")
    assert result.exit_code == 0
    assert "ignored services.web.tty: instead: fluxcloud exec" in result.stderr


@pytest.mark.parametrize("text", [b"a: [", b"\xff", b"{" * 50, b"- a", b""])
def test_validate__files_that_can_not_be_read(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "fluxcloud.yaml").write_bytes(text)
    result = run_spec("validate", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith("error[spec/")


def test_validate__nothing_there(tmp_path: Path) -> None:
    assert run_spec("validate", tmp_path).exit_code == 4
    assert run_spec("validate", tmp_path / "nowhere").exit_code == 4


# --- convert ----------------------------------------------------------------------------------------------------------


def test_convert__stdout_is_the_file(tmp_path: Path) -> None:
    result = run_spec("convert", write(tmp_path, compose_yaml=COMPOSE) / "compose.yaml")
    assert result.exit_code == 0
    spec = read_spec(load_yaml(result.stdout.encode()))
    assert spec.groups[0].components[0].image == "example/web:1"
    assert "ignored services.web.tty" in result.stderr


def test_convert__writes_and_does_not_overwrite(tmp_path: Path) -> None:
    folder = write(tmp_path, compose_yaml=COMPOSE)
    target = folder / "fluxcloud.yaml"
    assert run_spec("convert", folder, "-o", target, "--name", "other").stdout == f"{target} is written\n"
    assert read_written(folder).name == "other"
    again = run_spec("convert", folder / "compose.yaml", "-o", target)
    assert again.exit_code == 2
    assert f"{target} exists" in again.stderr
    assert run_spec("convert", folder / "compose.yaml", "-o", target, "--yes").exit_code == 0
    assert read_written(folder).name == "shop"


def test_convert__json(tmp_path: Path) -> None:
    body = json.loads(run_spec("convert", write(tmp_path, compose_yaml=COMPOSE), "--json", "-q").stdout)
    assert body["schema"] == "spec-convert/1"
    assert body["images"] == [{"component": "web", "image": "example/web:1", "platform": ""}]
    assert [note["kind"] for note in body["notes"]] == ["ignored", "kept", "kept"]
    assert body["spec"].startswith("spec: fluxcloud/1\nname: shop\n")


def test_convert__database_needs_an_answer(tmp_path: Path) -> None:
    folder = write(tmp_path, compose_yaml=DATABASE)
    asked = run_spec("convert", folder)
    assert asked.exit_code == 2
    assert "error[spec/4]: shop keeps data" in asked.stderr
    assert "--stateful one-copy" in asked.stderr
    answered = run_spec("convert", folder, "--stateful", "one-copy", "-q")
    assert (answered.exit_code, answered.stderr) == (0, "")
    assert read_spec(load_yaml(answered.stdout.encode())).groups[0].replicas == 1


def test_convert__our_own_file_is_refused(tmp_path: Path) -> None:
    result = run_spec("convert", write(tmp_path, fluxcloud_yaml=GOOD))
    assert result.exit_code == 2
    assert "is no compose file" in result.stderr


def test_schema() -> None:
    assert json.loads(run_spec("schema").stdout) == build_schema()
    assert json.loads(run_spec("schema", "--json").stdout) == {"schema": "spec-schema/1", "json_schema": build_schema()}


# --- init -------------------------------------------------------------------------------------------------------------


def init(folder: Path, **files: str) -> tuple[Component, str]:
    """The component and the text of what init writes."""
    result = run_init(write(folder, **files), "--name", "shop")
    assert result.exit_code == 0, result.output
    spec = read_written(folder)
    assert spec.name == "shop"
    return spec.groups[0].components[0], (folder / "fluxcloud.yaml").read_text()


def test_init__site(tmp_path: Path) -> None:
    component, text = init(tmp_path, index_html="<h1>hello</h1>", style_css="", _hidden="")
    assert component.image == "nginx:1.27-alpine"
    assert component.files == (
        ("/usr/share/nginx/html/index.html", b"<h1>hello</h1>"),
        ("/usr/share/nginx/html/style.css", b""),
    )
    assert "      /usr/share/nginx/html/index.html: ./index.html\n" in text


def test_init__site_too_large_to_travel(tmp_path: Path) -> None:
    component, text = init(tmp_path, index_html="x" * 25_000)
    assert (component.image, component.files) == ("./shop.tar", ())
    assert "docker save shop -o shop.tar" in text


def test_init__dockerfile(tmp_path: Path) -> None:
    dockerfile = "FROM node:22\nEXPOSE 3000/tcp\nHEALTHCHECK --interval=5s \\\n  CMD curl -f http://localhost:3000/up\n"
    component, text = init(tmp_path, Dockerfile=dockerfile)
    assert component.image == "./shop.tar"
    assert [(port.name, port.port) for port in component.ports] == [("http", 3000)]
    assert (component.health.kind, component.health.path) == ("http", "/up")
    assert "#   docker build -t shop . && docker save shop -o shop.tar\n" in text


def test_init__procfile(tmp_path: Path) -> None:
    component, _ = init(tmp_path, Procfile="# all\nworker: ./work\nweb: ./serve --port $PORT\n")
    assert component.command == ("/bin/sh", "-c", "./serve --port $PORT")
    assert component.env == (("PORT", "8080"),)


def test_init__archive(tmp_path: Path) -> None:
    assert init(tmp_path, app_tar="")[0].image == "./app.tar"


def test_init__empty_folder(tmp_path: Path) -> None:
    assert init(tmp_path)[0].image == "builtin:hello"


def test_init__compose_file(tmp_path: Path) -> None:
    component, text = init(tmp_path, compose_yaml=COMPOSE, index_html="")
    assert component.image == "example/web:1"
    assert text.startswith("# From compose.yaml.\n")


def test_init__compose_file_with_problems_writes_nothing(tmp_path: Path) -> None:
    result = run_init(write(tmp_path, compose_yaml="services: {web: {imag: x}}"))
    assert result.exit_code == 2
    assert "services.web.imag: unknown key; did you mean 'image'?" in result.stderr
    assert not (tmp_path / "fluxcloud.yaml").exists()


def test_init__does_not_overwrite(tmp_path: Path) -> None:
    folder = write(tmp_path, fluxcloud_yaml="mine", index_html="")
    assert run_init(folder).exit_code == 2
    assert (folder / "fluxcloud.yaml").read_text() == "mine"
    assert json.loads(run_init(folder, "--yes", "--json", "--name", "shop").stdout) == {
        **{"schema": "init/1", "file": f"{folder}/fluxcloud.yaml", "app": "shop", "found": "index.html"}
    }
    assert read_written(folder).name == "shop"
