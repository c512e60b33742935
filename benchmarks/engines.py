"""What visitors lose on the real engines: 300 requests a second while nodes break and daemons die.

Nodes are killed, stopped, cut off and drained; dockerd and the HAProxys of a node and of the gateway are killed. Bar:
no request of class (a) fails, but those in flight on the gateway's HAProxy when it dies. Reference beside it: the same
network and load while nothing breaks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from local_network import import_from_tests, scratch

COMBINATIONS = ("oci/haproxy", "docker/haproxy", "docker/embedded")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("combinations", nargs="*", default=COMBINATIONS, help="ENGINE/PROXY")
    faults = import_from_tests("e2e.engine_faults")
    for combination in parser.parse_args().combinations:
        engine, _, proxy = combination.partition("/")
        with scratch() as data, faults.network_of(data, engine, proxy) as (network, daemon):
            breaks: dict[str, Callable[[], None]] = {"nothing": lambda: time.sleep(5)}
            for kind in ("kill", "stop", "cut"):
                breaks[kind] = lambda kind=kind: faults.break_node(network, kind)  # type: ignore[misc]
            breaks["drain"] = lambda: faults.drain_node(network)
            if daemon is not None:
                breaks["dockerd killed"] = lambda: faults.kill_dockerd(daemon)
            if proxy == "haproxy":
                breaks["haproxy of a node killed"] = lambda: faults.kill_haproxy(
                    network, faults.list_serving(network)[0]
                )
                breaks["haproxy of the gateway killed"] = lambda: faults.kill_haproxy(network, "g1")
            for name, breaking in breaks.items():
                summary = faults.visit_while(network, breaking).summary
                failed, latency = summary["failed"], summary["latency_ms"]
                print(
                    f"{combination:16} {name:30} failed (a) {failed['a']:3} (b) {failed['b']:3} (c) {failed['c']:3}"
                    f" of {summary['requests']:6}   p99 {latency['p99']:6} ms, longest {latency['max']:7} ms"
                    f"   {summary['errors'] or ''}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
