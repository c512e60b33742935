"""The certificate that a node or gateway registers: self-signed by its hot key, for the text of its id."""

from __future__ import annotations

from .errors import BadCertificate

CERT_BYTES_MAX = 512


def validate_certificate(cert: bytes, hot: bytes, name: str) -> None:
    """Raises BadCertificate (nodes/9)."""
    if not 1 <= len(cert) <= CERT_BYTES_MAX:
        raise BadCertificate(f"cert: {len(cert)} bytes; allowed are 1..{CERT_BYTES_MAX}")
