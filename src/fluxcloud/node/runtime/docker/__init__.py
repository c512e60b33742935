"""The `docker` runtime: copies as containers of a Docker Engine (Docker; Podman's compatible API), by its own API."""
