"""Rules: what the fields of a spec have to do with each other, and with the images of its revision.

Each names the field's path and what is allowed. Bounds of single fields are in `bounds.py`. Source: APPS.md 1, 2.
"""

from __future__ import annotations

from collections.abc import Iterable

from .errors import BadImages, Contradiction, NotYet
from .model import Image
from .spec import FILES_BYTES_MAX, Component, Group, Spec
from .text import is_digest

ARCHES = ("amd64", "arm64")
IMAGE_BYTES_MAX = 1 << 40


def check_rules(spec: Spec) -> None:
    """Raises, first that applies: Contradiction (apps/6), NotYet (apps/7)."""
    _check_unique("groups", (group.name for group in spec.groups))
    for group in spec.groups:
        _check_group(group, f"groups.{group.name}")
    size = sum(
        len(content) for group in spec.groups for component in group.components for _, content in component.files
    )
    if size > FILES_BYTES_MAX:
        raise Contradiction(f"files: {size} bytes in all; at most {FILES_BYTES_MAX} are allowed")
    for group in spec.groups:
        _check_available(group, f"groups.{group.name}")


def check_images(spec: Spec, images: tuple[Image, ...]) -> None:
    """One image with a digest for every component. Raises BadImages (apps/8)."""
    wanted = [(group.name, component.name) for group in spec.groups for component in group.components]
    given = [(image.group, image.component) for image in images]
    if len(given) != len(set(given)) or set(given) != set(wanted):
        missing = ", ".join(f"{group}/{name}" for group, name in wanted if (group, name) not in given)
        raise BadImages(f"images: one for every component is needed, no other; missing: {missing or 'none'}")
    for image in images:
        path = f"images.{image.group}.{image.component}"
        if not is_digest(image.digest):
            raise BadImages(f"{path}.digest: allowed: sha256: and 64 hex digits")
        if not 1 <= image.size <= IMAGE_BYTES_MAX:
            raise BadImages(f"{path}.size: {image.size}; allowed: 1..{IMAGE_BYTES_MAX} bytes")
        if not image.arches or len(set(image.arches)) != len(image.arches) or not set(image.arches) <= set(ARCHES):
            raise BadImages(f"{path}.arches: allowed: one or more of {', '.join(ARCHES)}, each once")
    for group in spec.groups:
        if not get_arches(group.name, images):
            raise BadImages(f"images.{group.name}: its components have no architecture in common")


def get_arches(group: str, images: tuple[Image, ...]) -> tuple[str, ...]:
    """Architectures for which there is an image of every component of the group."""
    own = [image for image in images if image.group == group]
    return tuple(arch for arch in ARCHES if all(arch in image.arches for image in own))


def _check_group(group: Group, path: str) -> None:
    _check_unique(f"{path}.components", (component.name for component in group.components))
    owners: dict[tuple[int, bool], str] = {}
    for component in group.components:
        here = f"{path}.components.{component.name}"
        _check_component(component, here)
        for port in component.ports:
            owner = owners.setdefault((port.port, port.protocol == "udp"), component.name)
            if owner != component.name:
                raise Contradiction(
                    f"{here}.ports.{port.name}: port {port.port} is already {owner}'s; the components of a group share "
                    "one network, so each port belongs to one of them"
                )
    public = (port.name for component in group.components for port in component.ports if port.public)
    _check_unique(f"{path}: names of public ports", public)  # a route is app, group and port
    _check_start_order(group, path)
    if "operator" not in group.place.distinct:
        raise Contradiction(f"{path}.place.distinct: operator always belongs to it")


def _check_component(component: Component, path: str) -> None:
    _check_unique(f"{path}.ports", (port.name for port in component.ports))
    _check_unique(f"{path}.ports", (f"{port.port}/{_layer(port.protocol)}" for port in component.ports))
    health = component.health
    probed = [port for port in component.ports if port.protocol != "udp"]
    if health.port and health.port not in [port.name for port in probed]:
        names = ", ".join(port.name for port in probed) or "none"
        raise Contradiction(f"{path}.health.port: {health.port} is no port of it over TCP; there are: {names}")
    if health.kind == "http" and not probed:
        raise Contradiction(f"{path}.health: an http probe needs a port that is not udp")
    if health.kind == "http" and not health.path:
        raise Contradiction(f"{path}.health.path: an http probe needs a path, such as /")
    if component.restart.backoff_min_s > component.restart.backoff_max_s:
        raise Contradiction(f"{path}.restart.backoff: the shortest wait is longer than the longest")


def _check_start_order(group: Group, path: str) -> None:
    """`start_after` names components of the group and has no cycle."""
    waits = {component.name: [after.component for after in component.start_after] for component in group.components}
    for component in group.components:
        _check_unique(f"{path}.components.{component.name}.start_after", waits[component.name])
        for name in waits[component.name]:
            if name not in waits:
                raise Contradiction(
                    f"{path}.components.{component.name}.start_after: the group has no component {name}"
                )
    started: list[str] = []
    while len(started) < len(waits):
        ready = [c.name for c in group.components if c.name not in started and all(n in started for n in waits[c.name])]
        if not ready:
            stuck = ", ".join(c.name for c in group.components if c.name not in started)
            raise Contradiction(f"{path}.components: start_after goes in a circle: {stuck}")
        started.extend(ready)


def _check_available(group: Group, path: str) -> None:
    """What has its place in the spec and is not there in this version."""
    if group.mode != "parallel":
        raise NotYet(f"{path}.mode: {group.mode} is not available yet; allowed: parallel")
    if group.place.attested:
        raise NotYet(f"{path}.place.attested: no node is attested yet; allowed: false")
    if group.place.static_ip:
        raise NotYet(f"{path}.place.static_ip: static addresses are not measured yet; allowed: false")
    if "provider" in group.place.distinct:
        raise NotYet(f"{path}.place.distinct: provider is not known of nodes yet; asn is the nearest")


def _check_unique(path: str, names: Iterable[str]) -> None:
    seen: list[str] = []
    for name in names:
        if name in seen:
            raise Contradiction(f"{path}: {name} stands twice; each may stand once")
        seen.append(name)


def _layer(protocol: str) -> str:
    return "udp" if protocol == "udp" else "tcp"
