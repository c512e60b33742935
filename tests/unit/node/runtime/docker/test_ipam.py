"""Subnets: free ones are found, others' are passed over, parts of a pool never clash."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcloud.errors import ConfigError
from fluxcloud.node.runtime.docker.ipam import (
    get_address,
    get_gateway,
    list_free,
    parse_pool,
    parse_routes,
    parse_subnets,
    split_pool,
)

POOL = IPv4Network("10.201.0.0/28")


def free(*taken: str, seed: int = 0) -> list[str]:
    return [str(subnet) for subnet in list_free(POOL, map(IPv4Network, taken), seed)]


def test_all_are_free_beginning_at_the_seed() -> None:
    assert free() == ["10.201.0.0/30", "10.201.0.4/30", "10.201.0.8/30", "10.201.0.12/30"]
    assert free(seed=6) == ["10.201.0.8/30", "10.201.0.12/30", "10.201.0.0/30", "10.201.0.4/30"]


def test_taken_ones_are_passed_over() -> None:
    assert free("10.201.0.4/30") == ["10.201.0.0/30", "10.201.0.8/30", "10.201.0.12/30"]
    assert free("10.201.0.5/32", "10.201.0.8/29") == ["10.201.0.0/30"]
    assert free("10.201.0.0/16") == []
    assert free("10.202.0.0/16", "0.0.0.0/1") == []


def test_the_addresses_of_a_subnet() -> None:
    subnet = IPv4Network("10.201.0.4/30")
    assert (str(get_gateway(subnet)), str(get_address(subnet))) == ("10.201.0.5", "10.201.0.6")


def test_a_large_pool_is_searched_lazily() -> None:
    found = list_free(IPv4Network("10.0.0.0/8"), [], 4_194_303)
    assert [str(subnet) for subnet in islice(found, 2)] == ["10.255.255.252/30", "10.0.0.0/30"]


@given(st.integers(1, 256).flatmap(lambda count: st.tuples(st.just(count), st.permutations(range(min(count, 4))))))
def test_parts_never_clash(case: tuple[int, list[int]]) -> None:
    count, indexes = case
    parts = [IPv4Network(split_pool("10.201.0.0/16", index, count)) for index in {*indexes, count - 1}]
    assert all(part.subnet_of(IPv4Network("10.201.0.0/16")) for part in parts)
    assert not any(a.overlaps(b) for a in parts for b in parts if a is not b)


def test_parts() -> None:
    assert split_pool("10.201.0.0/16", 0, 1) == "10.201.0.0/16"
    assert [split_pool("10.201.0.0/16", index, 3) for index in range(3)] == [
        "10.201.0.0/18",
        "10.201.64.0/18",
        "10.201.128.0/18",
    ]


@pytest.mark.parametrize("text", ["10.201.0.1/16", "8.8.8.0/24", "10.201.0.0/31", "::/64", "x", "172.0.0.0/8"])
def test_invalid_pool(text: str) -> None:
    with pytest.raises(ConfigError, match="docker_subnets: "):
        parse_pool(text)


@pytest.mark.parametrize(("index", "count"), [(3, 3), (-1, 3), (0, 2**15)])
def test_invalid_part(index: int, count: int) -> None:
    with pytest.raises(ConfigError, match="docker_subnets: "):
        split_pool("10.201.0.0/16", index, count)


def test_what_others_have() -> None:
    assert parse_subnets(["10.1.0.0/16", "fd00::/64", "", "172.17.0.1/16"]) == [
        IPv4Network("10.1.0.0/16"),
        IPv4Network("172.17.0.0/16"),
    ]
    table = (
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    assert parse_routes(table) == [IPv4Network("192.168.0.0/16")]
