"""For all tests: examples have no deadline of their own, for cores are shared; the timeout bounds each test."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("fluxcloud", deadline=None)
settings.load_profile("fluxcloud")
