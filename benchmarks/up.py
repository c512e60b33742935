"""`up` with five nodes: seconds to ready, seconds of a second start, memory (PSS) of all its processes.

Reference beside it: starting this many bare Python interpreters one after another.
"""

from __future__ import annotations

import subprocess
import sys
import time

from local_network import local_network, read_pss_mib, scratch


def start_bare_pythons(count: int) -> float:
    began = time.monotonic()
    for _ in range(count):
        subprocess.run((sys.executable, "-c", "pass"), check=True)
    return time.monotonic() - began


def main() -> None:
    with scratch() as data:
        reference_s = start_bare_pythons(8)
        with local_network(data) as network:
            first_s = network.ready_s
            network.run("demo", "failover", "--faults", "kill", "--rate", "50", "-q")
            pss_mib = read_pss_mib(network.list_pids())
        with local_network(data) as network:
            second_s = network.ready_s
    print(f"up ready, five nodes       {first_s:6.2f} s   bar 8 s   {first_s / reference_s:5.1f} x 8 bare interpreters")
    print(
        f"up ready, second start     {second_s:6.2f} s   bar 4 s   {second_s / reference_s:5.1f} x 8 bare interpreters"
    )
    print(f"memory of all processes    {pss_mib:6.0f} MiB bar 600 MiB (PSS, after a failover)")


if __name__ == "__main__":
    main()
