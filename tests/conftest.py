"""For all tests: examples have no deadline of their own, for machines share their cores; pytest's timeout bounds each."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("fluxcloud", deadline=None)
settings.load_profile("fluxcloud")
