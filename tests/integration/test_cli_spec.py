"""`fluxcloud spec convert` on a terminal: it asks what a file leaves open, and the answer counts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fluxcloud.specfile.reader import read_spec
from fluxcloud.specfile.yaml_data import load_yaml


def test_convert_asks_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("name: shop\nservices:\n  db: {image: 'postgres:16'}\n")
    main, terminal = os.openpty()
    argv = [sys.executable, "-m", "fluxcloud.cli.main", "spec", "convert", str(tmp_path)]
    try:
        os.write(main, b"perhaps\none-copy\n")
        done = subprocess.run(argv, stdin=terminal, capture_output=True, timeout=60, check=True, text=True)
    finally:
        os.close(main)
        os.close(terminal)
    assert "shop keeps data" in done.stderr
    assert "'perhaps' is not one of 'one-copy', 'separate-data'" in done.stderr
    group = read_spec(load_yaml(done.stdout.encode())).groups[0]
    assert (group.replicas, group.spares) == (1, 0)
