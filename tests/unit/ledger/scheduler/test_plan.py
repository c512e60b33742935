"""Dry runs: what would become of a spec if it were registered now."""

from __future__ import annotations

from msgspec.structs import replace

from factories_apps import COMPONENT, Deployment, make_images, make_spec
from fluxcloud.ledger.apps.model import APPS
from fluxcloud.ledger.apps.spec import Place
from fluxcloud.ledger.scheduler.explain import Refusal
from fluxcloud.ledger.scheduler.queries import get_all_copies, plan_spec


def test_plan__counts_who_would_take_it_and_says_why_others_would_not() -> None:
    net = Deployment(5)
    net.deploy(make_spec(replicas=2, spares=0, components=(replace(COMPONENT, mcpu=3_900),)))
    spec = make_spec("more", place=Place(deny=("SG",)))
    (plan,) = plan_spec(net.state, spec, make_images(spec), net.params)
    assert (plan.group, plan.copies, plan.need.mcpu) == ("web", 4, 500)
    busy_in_sg = sum(net.node(k).used.mcpu > 0 and net.node(k).location.country == "SG" for k in range(1, 6))
    assert plan.fitting == 5 - 2 - (1 - busy_in_sg)
    refused = (Refusal("capacity", 2, "lack CPU (need 0.5)"),)
    denied = (Refusal("place", 1 - busy_in_sg, "excluded by place.deny [SG]"),) if not busy_in_sg else ()
    assert plan.refusals == refused + denied
    assert plan.could == (Refusal("place", 1, "excluded by place.deny [SG]"),)
    assert net.state.count(APPS) == 1


def test_all_copies__superseded_ones_included() -> None:
    net = Deployment(5)
    net.deploy()
    net.set_state(net.k_of(1), "suspect", "down")
    assert [(generation, p.role) for generation, p in get_all_copies(net.state, net.app())] == [
        (1, "orphan"),
        (2, "active"),
        (3, "active"),
        (4, "active"),
        (5, "standby"),
    ]
