"""Images out of a real Docker daemon, by its socket."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from dockerd import Dockerd, run_dockerd
from factories_archives import make_busybox_layer
from fluxcloud.cli.output import Output
from fluxcloud.cli.source import Wishes, read_source
from fluxcloud.errors import Permanent, Temporary
from fluxcloud.images.errors import BadReference
from fluxcloud.images.store import ContentStore
from fluxcloud.sdk.dockerimages import DockerImages

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(180)]

NAME = "acme/web-shop:1.4"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Dockerd]:
    with run_dockerd() as running:
        yield running


async def load(daemon: Dockerd) -> None:
    """Give the daemon an image, as `docker import --change` would."""
    repository, _, tag = NAME.partition(":")
    query = {"fromSrc": "-", "repo": repository, "tag": tag, "changes": "EXPOSE 9090"}
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(daemon.socket)) as session:
        body = io.BytesIO(make_busybox_layer())
        async with session.post("http://docker/images/create", params=query, data=body) as response:
            said = await response.text()
            assert response.status == 200, said
            assert "sha256:" in said, said


async def test_image_of_the_daemon__becomes_an_app(
    daemon: Dockerd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load(daemon)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{daemon.socket}")
    for given in (NAME, f"docker:{NAME}"):
        bundle = await read_source(given, Wishes(), ContentStore(tmp_path / "store"), Output(quiet=True))
        ((component,),) = [group.components for group in bundle.spec.groups]
        assert (bundle.spec.name, component.image, component.ports[0].port) == ("web-shop", NAME, 9090)
        assert len(bundle.list_digests()) == 1


async def test_name_that_the_daemon_does_not_have__is_none_and_cannot_be_saved(daemon: Dockerd, tmp_path: Path) -> None:
    async with DockerImages(Path(daemon.socket)) as docker:
        assert await docker.find("acme/nothing:1") is None
        with pytest.raises(Permanent, match="acme/nothing"):
            await docker.save("acme/nothing:1", tmp_path / "nothing.tar", lambda _: None)
        for wrong in ("../containers", "a?b=c", "a/../../info"):
            with pytest.raises(BadReference):
                await docker.find(wrong)


async def test_socket_that_nobody_answers__is_temporary(tmp_path: Path) -> None:
    async with DockerImages(tmp_path / "nobody.sock") as docker:
        with pytest.raises(Temporary, match="can't be reached"):
            await docker.find("nginx")
