"""Reading HAProxy's statistics, and its version."""

from __future__ import annotations

import pytest

from fluxcloud.errors import ConfigError
from fluxcloud.metrics import render_metrics
from fluxcloud.proxy.base import ProxyStats
from fluxcloud.proxy.haproxy.process import parse_version, validate_version
from fluxcloud.proxy.haproxy.stats import (
    Counters,
    HaproxyStats,
    read_front,
    read_retries,
    read_sessions,
)
from fluxcloud.proxy.metrics import list_metrics

FRONT = "# pxname,svname,req_tot,ereq,dreq,h1_open_streams,h2_open_streams,\nfront,FRONTEND,7,2,1,3,1,\n"
BACKENDS = "# pxname,svname,scur,qcur,wretr,\np00000,a:1:t,1,2,4,\np00000,b:2:t,0,0,1,\n"


def test_front() -> None:
    counters, active = read_front(FRONT, "proc.failed: type=sint value=<5>", Counters(retries=9))
    assert (counters, active) == (Counters(requests=7, failed=5, retries=9, refused=3), 4)


def test_counters__carried_on() -> None:
    assert Counters(1, 2, 3, 4) + Counters(10, 20, 30, 40) == Counters(11, 22, 33, 44)


def test_backends() -> None:
    assert read_retries(BACKENDS) == 5
    assert read_sessions(BACKENDS) == {"a:1:t": 3, "b:2:t": 0}


def test_metrics() -> None:
    text = render_metrics(list_metrics(HaproxyStats(requests=3, peers_down=("n1",), restarts=1)), {"role": "edge"})
    assert 'fluxcloud_proxy_requests_total{role="edge"} 3\n' in text
    assert 'fluxcloud_proxy_restarts_total{role="edge"} 1\n' in text
    assert 'fluxcloud_proxy_peer_down{peer="n1",role="edge"} 1\n' in text
    assert text.count("# TYPE ") == 11
    assert render_metrics(list_metrics(ProxyStats(requests=3)), {}).count("# TYPE ") == 6


@pytest.mark.parametrize(
    ("text", "version"),
    [("HAProxy version 2.6.12-1+deb12u4 2026/10/17", (2, 6)), ("HA-Proxy version 1.8.4", (0, 0)), ("", (0, 0))],
)
def test_version__read(text: str, version: tuple[int, int]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("version", [(0, 0), (2, 2), (3, 0)])
def test_version__refused_with_those_supported(version: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"proxy\.engine: haproxy is .*; 2\.6 is supported"):
        validate_version(version)


def test_version__tested_one() -> None:
    validate_version((2, 6))
