"""Outside programs that tests run against: found, or the test is skipped and says so.

With FLUXCLOUD_REQUIRE_ENGINES=1, as CI sets it, a missing one is a failure instead.
"""

from __future__ import annotations

import os
import shutil

import pytest


def require_engine(program: str, *, package: str = "") -> str:
    """Path of the program."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found:
        return found
    message = f"{program} is not installed (Debian package {package or program}; `make engines` as root installs it)"
    if os.environ.get("FLUXCLOUD_REQUIRE_ENGINES") == "1":
        pytest.fail(message)
    pytest.skip(message)
