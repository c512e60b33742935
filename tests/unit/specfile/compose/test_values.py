"""The small languages of compose values: ports, sizes, durations, commands, probes, merging, order, names."""

from __future__ import annotations

from typing import Any

import pytest

from fluxcloud.specfile.compose.health import Probe, derive_probe
from fluxcloud.specfile.compose.merge import merge, strip_tags
from fluxcloud.specfile.compose.names import make_slug, name_components
from fluxcloud.specfile.compose.order import find_circle
from fluxcloud.specfile.compose.ports import name_ports, read_openings
from fluxcloud.specfile.compose.report import Report
from fluxcloud.specfile.compose.values import (
    parse_command,
    parse_cpus,
    parse_duration,
    parse_memory,
    parse_pairs,
    parse_port_range,
)
from fluxcloud.specfile.yaml_data import Tagged


@pytest.mark.parametrize(
    ("parse", "value", "expected"),
    [
        (parse_memory, "512m", 512),
        (parse_memory, "1.5gb", 1536),
        (parse_memory, "2GiB", 2048),
        (parse_memory, 134_217_729, 129),
        (parse_memory, "-1", 0),
        (parse_cpus, "0.25", 300),
        (parse_cpus, 2, 2000),
        (parse_cpus, "0.5", 500),
        (parse_duration, "1m30s", 90.0),
        (parse_duration, "500ms", 0.5),
        (parse_duration, "1.5h", 5400.0),
        (parse_duration, 10, 10.0),
        (parse_command, "a 'b c' d\\ e \"f'g\"", ("a", "b c", "d e", "f'g")),
        (parse_command, ["a", 1, True], ("a", "1", "true")),
        (parse_command, "", ()),
        (parse_pairs, ["A=b=c", "D"], (("A", "b=c"), ("D", None))),
        (parse_pairs, {"A": 1, "B": None, "C": True}, (("A", "1"), ("B", None), ("C", "true"))),
        (parse_port_range, "80", range(80, 81)),
        (parse_port_range, "8000-8002", range(8000, 8003)),
    ],
)
def test_parse(parse: Any, value: Any, expected: Any) -> None:
    assert parse(value) == expected


@pytest.mark.parametrize(
    ("parse", "value"),
    [
        (parse_memory, "much"),
        (parse_memory, True),
        (parse_memory, "5x"),
        (parse_cpus, "NaN"),
        (parse_cpus, "-1"),
        (parse_cpus, "1e99"),
        (parse_duration, "soon"),
        (parse_duration, "10"[::-1] + "x"),
        (parse_duration, True),
        (parse_command, "open 'quote"),
        (parse_command, [{}]),
        (parse_pairs, "A=b"),
        (parse_pairs, {"A": []}),
        (parse_port_range, "0"),
        (parse_port_range, "65536"),
        (parse_port_range, "5-3"),
        (parse_port_range, "-5"),
    ],
)
def test_what_is_not_allowed(parse: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(value)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (80, [(80, "http", True)]),
        ("8080:80", [(80, "http", True)]),
        ("3000-3001", [(3000, "http", True), (3001, "http", True)]),
        ("9090-9091:8080-8081", [(8080, "http", True), (8081, "http", True)]),
        ("127.0.0.1:8001:8001", [(8001, "http", False)]),
        ("127.0.0.1::5000", [(5000, "http", False)]),
        ("[::1]:80:80", [(80, "http", False)]),
        ("192.0.2.7:80:80", [(80, "http", True)]),
        ("6060:6060/udp", [(6060, "udp", True)]),
        ("5432:5432", [(5432, "tcp", True)]),
        (443, [(443, "https", True)]),
        ({"target": 9000, "published": "80", "app_protocol": "grpc"}, [(9000, "h2c", True)]),
        ({"target": "53", "protocol": "udp"}, [(53, "udp", True)]),
    ],
)
def test_port(entry: Any, expected: list[tuple[int, str, bool]]) -> None:
    report = Report()
    openings = read_openings({"ports": [entry]}, "services.web", report)
    assert report.problems == []
    assert [(opening.number, opening.protocol, opening.is_published) for opening in openings] == expected


@pytest.mark.parametrize(
    "entry", ["a:b", "1:2:3:4", "80/sctp", "1-3:1-2", "0:0", True, {}, {"target": "1-2"}, [], "1-99", "80:"]
)
def test_port_with_a_mistake(entry: Any) -> None:
    report = Report()
    assert read_openings({"ports": [entry]}, "services.web", report) == ()
    assert [problem.path for problem in report.problems] == ["services.web.ports[0]"]


def test_ports_of_one_number__first_wins_and_names_differ() -> None:
    service = {"ports": ["80:80", "81:80", "80:80/udp"], "expose": ["80", 8080]}
    ports = name_ports(read_openings(service, "services.web", Report()), is_public=True)
    assert [(port.name, port.port, port.protocol, port.public) for port in ports] == [
        ("http", 80, "http", True),
        ("p80", 80, "udp", True),
        ("p8080", 8080, "http", False),
    ]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("curl -f http://localhost:8080/ok || exit 1", Probe("http", "/ok", 8080)),
        ("curl --fail 'http://127.0.0.1/status?a=b'", Probe("http", "/status?a=b", 80)),
        ("wget -qO- localhost:3000", Probe("http", "/", 3000)),
        ("python -c \"import requests; requests.get('http://localhost:5000/up')\"", Probe("http", "/up", 5000)),
        ("curl -k https://localhost:8443/", Probe(number=8443)),
        ("curl http://elsewhere:80/", Probe()),
        ("nc -z localhost 5432", Probe(number=5432)),
        ("bash -c ':> /dev/tcp/127.0.0.1/6379'", Probe(number=6379)),
        ("pg_isready -U app", Probe()),
        ("nc -z localhost 99999", Probe()),
    ],
)
def test_probe_of_a_command(command: str, expected: Probe) -> None:
    assert derive_probe(command) == expected


@pytest.mark.parametrize(
    ("key", "base", "over", "expected"),
    [
        ("", {"a": 1, "b": {"c": 1}}, {"b": {"d": 2}}, {"a": 1, "b": {"c": 1, "d": 2}}),
        ("command", ["a"], ["b"], ["b"]),
        ("environment", ["A=1", "B=2"], {"B": "3"}, {"A": "1", "B": "3"}),
        ("ports", ["80:80"], ["80:80", "81:81"], ["80:80", "81:81"]),
        ("volumes", ["./a:/x:ro", "b:/y"], [{"type": "bind", "source": "c", "target": "/x"}], None),
        (
            "depends_on",
            ["a"],
            {"b": {"condition": "service_healthy"}},
            {"a": None, "b": {"condition": "service_healthy"}},
        ),
        ("build", ".", {"target": "x"}, {"context": ".", "target": "x"}),
        ("", {"a": 1, "b": 2}, {"a": Tagged("!reset", None)}, {"b": 2}),
        ("", {"a": [1]}, {"a": Tagged("!override", [2])}, {"a": [2]}),
        ("", {"a": 1}, {"a": None}, {"a": 1}),
        ("", {"a": Tagged("!override", [1])}, {"a": [2]}, {"a": [1, 2]}),
    ],
)
def test_merge(key: str, base: Any, over: Any, expected: Any) -> None:
    if expected is None:
        expected = ["b:/y", *over]
    assert strip_tags(merge(base, over, key)) == expected


def test_circle_is_shown_as_it_goes_round() -> None:
    assert find_circle({"a": ["b"], "b": ["c", "d"], "c": [], "d": ["b"]}) == ["b", "d", "b"]
    assert find_circle({"a": ["a"]}) == ["a", "a"]
    assert find_circle({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_slug() -> None:
    assert make_slug("My_App 2!", 40) == "my-app-2"
    assert make_slug("9-lives--", 40) == "lives"
    assert make_slug("ÄÖ", 40) == ""
    assert make_slug("abcdef-ghi", 7) == "abcdef"


def test_components_have_names_of_their_own() -> None:
    names = name_components({"my_app": {}, "my-app": {}, "my.app": {}, "a" * 30: {}, "a" * 31: {}, "1": {}}, Report())
    assert list(names.values()) == ["my-app-2", "my-app", "my-app-3", "a" * 20, "a" * 18 + "-2", "service"]
