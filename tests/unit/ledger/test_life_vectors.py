"""The life of an app, written down message by message: what each does to the whole state, placement included."""

from __future__ import annotations

from factories_apps import BOB, Deployment, make_images, make_spec
from factories_vectors import check_vector
from fluxcloud.codec import encode
from fluxcloud.ledger.apps.messages import (
    DeleteApp,
    EvictInstance,
    RevokeSessions,
    ScaleGroup,
    TransferApp,
    UndeleteApp,
    UpdateApp,
)
from fluxcloud.ledger.module import Message
from fluxcloud.ledger.scheduler.messages import CopyReport, NodeReport


def test_life_of_an_app() -> None:
    net = Deployment(5)

    def take(name: str, message: Message, owner: str = "alice") -> None:
        assert check_vector(net, net.user(owner, message), "apps", f"life_{name}").code == ""

    net.deploy(is_run=False)
    report = NodeReport((CopyReport(net.app_id, 1, "running"),))
    assert check_vector(net, net.report(net.k_of(1), report), "scheduler", "node_report").code == ""
    net.report_all()
    take("scale_group", ScaleGroup(net.app_id, "web", 4))
    take("evict_instance", EvictInstance(net.app_id, 2))
    new = make_spec(replicas=2)
    take("update_app", UpdateApp(net.app_id, encode(new), b"", make_images(new, "sha256:" + "cd" * 32)))
    take("revoke_sessions", RevokeSessions(net.app_id))
    take("transfer_app", TransferApp(net.app_id, BOB))
    take("delete_app", DeleteApp(net.app_id), "bob")
    take("undelete_app", UndeleteApp(net.app_id), "bob")
