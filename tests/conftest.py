"""For all tests: examples have no deadline of their own, for cores are shared; the timeout bounds each test."""

from __future__ import annotations

import signal

from hypothesis import settings

settings.register_profile("fluxcloud", deadline=None)
settings.load_profile("fluxcloud")

# A shell's background job ignores Ctrl-C, and so would all that the tests start and end by it.
signal.signal(signal.SIGINT, signal.default_int_handler)
