"""The daemons' own entry: `python -m fluxcloud.cli.daemon chain|node|gateway CONFIG`. Each is alone in its process."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from ..errors import ConfigError, FluxCloudError

_DAEMONS = {
    "chain": ("fluxcloud.chain.config", "fluxcloud.chain.node"),
    "node": ("fluxcloud.node.config", "fluxcloud.node.agent"),
    "gateway": ("fluxcloud.gateway.config", "fluxcloud.gateway.agent"),
}
EXIT_FAILED, EXIT_CONFIG = 1, 2


def main(arguments: list[str]) -> int:
    """Run one daemon until it ends. Exit 2 where its configuration is wrong."""
    if len(arguments) != 2 or arguments[0] not in _DAEMONS:
        print(f"usage: python -m fluxcloud.cli.daemon {'|'.join(_DAEMONS)} CONFIG", file=sys.stderr)
        return EXIT_CONFIG
    config_module, daemon_module = _DAEMONS[arguments[0]]
    try:
        config = importlib.import_module(config_module).load_config(Path(arguments[1]))
        code: int = importlib.import_module(daemon_module).run(config)
        return code
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    except FluxCloudError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
