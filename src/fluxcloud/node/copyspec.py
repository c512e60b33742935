"""From a desired copy to what the runtime is given: limits, environment, labels. Pure."""

from __future__ import annotations

from ..ledger.apps.spec import Component
from .model import DesiredCopy
from .runtime.base import ComponentSpec, CopySpec

GRACE_LABEL = "fluxcloud.grace_s"
SPEC_LABEL = "fluxcloud.spec"
GROUP_LABEL = "fluxcloud.group"
GRACE_S_DEFAULT = 30


def build_copy_spec(copy: DesiredCopy) -> CopySpec:
    """All values of a copy. Its labels tell a later agent, which may not have its spec, how to end it."""
    digests = {image.component: image.digest for image in copy.images}
    grace_s = max((component.stop.grace_s for component in copy.group.components), default=GRACE_S_DEFAULT)
    return CopySpec(
        key=copy.key,
        components=tuple(_build_component(copy, part, digests[part.name]) for part in copy.group.components),
        labels=(
            (GRACE_LABEL, str(grace_s)),
            (GROUP_LABEL, copy.group.name),
            (SPEC_LABEL, copy.entry.spec_hash.hex()),
        ),
    )


def _build_component(copy: DesiredCopy, component: Component, digest: str) -> ComponentSpec:
    return ComponentSpec(
        name=component.name,
        image=digest,
        command=component.command,
        entrypoint=component.entrypoint or None,
        env=(*_build_own_env(copy), *component.env),
        files=component.files,
        ports=tuple(port.port for port in component.ports),
        mcpu=component.mcpu,
        memory_mib=component.memory_mib,
        disk_mib=component.disk_mib,
        read_only=component.read_only,
        stop_signal=component.stop.signal,
    )


def _build_own_env(copy: DesiredCopy) -> tuple[tuple[str, str], ...]:
    """What a program may want to know about its own copy; the spec's own variables win."""
    return (
        ("FLUXCLOUD_APP", copy.app_name),
        ("FLUXCLOUD_GROUP", copy.group.name),
        ("FLUXCLOUD_SLOT", str(copy.entry.slot)),
        ("FLUXCLOUD_GENERATION", str(copy.entry.generation)),
        ("FLUXCLOUD_NODE", copy.node),
    )
