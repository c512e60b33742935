"""Compose files as FluxCloud specs: what is kept, changed, dropped and refused. Begin with `convert.py`."""
