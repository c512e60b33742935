"""The certificate that a node or gateway registers: self-signed by its hot key, for the text of its id."""

from __future__ import annotations

from ...tls import BadCert, validate_identity_cert
from .errors import BadCertificate


def validate_certificate(cert: bytes, hot: bytes, name: str) -> None:
    """Raises BadCertificate (nodes/9)."""
    try:
        validate_identity_cert(cert, hot, name)
    except BadCert as error:
        raise BadCertificate(error.message) from error
