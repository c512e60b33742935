"""Ports: free or not, the next free one, and who has one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fluxcloud.cli.ports import find_free, find_owner, is_free

HOST = "127.97.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    with closing(socket.create_server((HOST, 0))) as server:
        yield server.getsockname()[1]


def test_tcp_port__is_taken_on_its_address_only(taken: int) -> None:
    assert not is_free(HOST, taken)
    assert is_free("127.97.0.2", taken)
    assert is_free(HOST, taken, udp=True)


def test_udp_port__is_taken_apart_from_tcp() -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind((HOST, 0))
        port = server.getsockname()[1]
        assert not is_free(HOST, port, udp=True)
        assert is_free(HOST, port)


def test_port__of_an_address_of_another_machine_is_not_free() -> None:
    assert not is_free("192.0.2.1", 8_080)


def test_find_free__the_first_that_is(taken: int) -> None:
    with closing(socket.create_server((HOST, 0))) as server:
        free = server.getsockname()[1]
    assert find_free(HOST, (taken, free, taken)) == free
    assert find_free(HOST, (taken,)) is None


def test_owner__by_name_and_pid(taken: int) -> None:
    name = Path("/proc/self/comm").read_text().strip()
    assert find_owner(taken) == f"{name} (pid {os.getpid()})"


def test_owner__of_a_port_where_nobody_listens() -> None:
    with closing(socket.create_server((HOST, 0))) as server:
        port = server.getsockname()[1]
    assert find_owner(port) == ""
