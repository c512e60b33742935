"""Images as plain data on disk: content store, manifests, archives, building, unpacking. For clients and nodes."""
