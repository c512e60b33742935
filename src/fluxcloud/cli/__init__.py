"""The command line `fluxcloud`."""

COMPLETE_VARIABLE = "_FLUXCLOUD_COMPLETE"
"""Set by the script of `fluxcloud completion`: a shell asks what may come next."""
