"""`deploy` -> first 200 from three operators through the gateway, image present: 30 deploys, p50 and p95.

Reference beside it: the block interval, which no deployment can beat twice (a block to place, a header to prove).
"""

from __future__ import annotations

import argparse
import sys

from local_network import add_engine_options, engines, local_network, percentile, scratch

SPEC = """
name: {name}
components:
  app: {{image: "builtin:hello", cpu: 0.1, memory: 64MiB, disk: 64MiB, ports: {{http: 8080}}}}
"""
BLOCK_S = 0.5
BARS_S = {"oci": 4, "docker": 5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deploys", type=int, default=30)
    add_engine_options(parser)
    arguments = parser.parse_args()
    count = arguments.deploys
    took: list[float] = []
    with engines(arguments) as options, scratch() as data, local_network(data, *options) as network:
        for number in range(count):
            folder = data.parent / f"app{number}"
            folder.mkdir()
            (folder / "fluxcloud.yaml").write_text(SPEC.format(name=f"app{number}"))
            result = network.json("deploy", str(folder))
            if result["served_s"] is None:
                sys.exit(f"app{number} was not served by three operators")
            took.append(result["served_s"])
            network.run("app", "delete", f"app{number}", "--yes")
    p50, p95 = percentile(took, 0.5), percentile(took, 0.95)
    bar_s = BARS_S[arguments.engine]
    print(
        f"deploy -> 200 from three operators, {count} deploys   p50 {p50:.2f} s   p95 {p95:.2f} s   bar {bar_s} s (p95)"
    )
    print(f"the same in blocks of {BLOCK_S} s                      p50 {p50 / BLOCK_S:.1f}     p95 {p95 / BLOCK_S:.1f}")


if __name__ == "__main__":
    main()
