"""Node killed -> replacement serves, image present: kills under load, p50 and p99; and what visitors lost.

Reference beside it: the arithmetic of LIVENESS.md 5 (standby serves 6.2 s p50, 7.1 s p99).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

from local_network import CLI, add_engine_options, engines, local_network, percentile, scratch

EXPECTED_P50_S, EXPECTED_P99_S = 6.2, 7.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kinds", default="kill", help="faults to repeat, separated by commas")
    parser.add_argument("--rate", type=int, default=200)
    add_engine_options(parser)
    arguments = parser.parse_args()
    kinds = (arguments.kinds.split(",") * arguments.kills)[: arguments.kills]
    with engines(arguments) as options, scratch() as data, local_network(data, *options):
        argv = (*CLI, "demo", "failover", "--json", "--faults", ",".join(kinds), "--rate", str(arguments.rate))
        environment = {**os.environ, "FLUXCLOUD_DATA": str(data)}
        done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    result = json.loads(done.stdout.splitlines()[-1])
    replaced = [fault["replacement_s"] for fault in result["faults"]]
    if None in replaced:
        sys.exit(f"not every copy was replaced: {result['faults']}")
    p50, p99 = percentile(replaced, 0.5), percentile(replaced, 0.99)
    print(
        f"{len(replaced)} x {arguments.kinds} -> replacement serves   p50 {p50:.1f} s   p99 {p99:.1f} s   bar 8 / 10 s"
    )
    print(f"against the arithmetic                  {p50 / EXPECTED_P50_S:.2f} x       {p99 / EXPECTED_P99_S:.2f} x")
    failed, latency = result["failed"], result["latency_ms"]
    print(f"class (a) failed {failed['a']} of {result['requests']}   bar 0   (b) {failed['b']}   (c) {failed['c']}")
    print(f"latency p50 {latency['p50']} ms, p99 {latency['p99']} ms, longest {latency['max']} ms")


if __name__ == "__main__":
    main()
