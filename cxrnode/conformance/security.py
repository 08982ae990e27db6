"""Transport security, from what the TLS contexts are made of.

Hides nothing but the wording. Promises the cipher suites that are offered, in their order, by the names of the RFCs.
"""

from __future__ import annotations

from cxrnode.conformance.markdown import literal, table
from cxrnode.dimse.certificates import SMALLEST_CURVE, SMALLEST_RSA
from cxrnode.dimse.tls import CIPHERS
from cxrnode.settings.sections import TlsSettings

TLS_13 = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")
NAMES = {
    "ECDHE-ECDSA-AES256-GCM-SHA384": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384": "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}
"""OpenSSL's names of suites, and the RFCs'."""


def transport() -> str:
    """Give what holds for TLS."""
    rows = (
        ("versions", "1.2 and 1.3; older ones are not negotiated, nor is DICOM in the clear on the same port"),
        ("cipher suites of TLS 1.3", ", ".join(literal(one) for one in TLS_13)),
        ("cipher suites of TLS 1.2", ", ".join(literal(NAMES[one]) for one in CIPHERS)),
        ("renegotiation, compression, tickets of the node as server", "none"),
        (
            "authentication of the peer as client",
            "certificate required, unless `listener.client_certificates` ignores it",
        ),
        ("authentication of the peer as server", "certificate required, for the name in `certificate_name` or `host`"),
        ("whose certificates count", "those that lead to one of `tls.authorities`; the system's authorities do not"),
        ("withdrawn certificates (CRL, OCSP)", "not looked at"),
        ("keys of the node", f"RSA of {SMALLEST_RSA} bits or more, elliptic curves of {SMALLEST_CURVE} or more"),
        ("wait for a handshake", f"{TlsSettings().handshake_seconds:g} s, as server"),
        ("port", "`node.port`; 2762 is the one registered for DICOM under TLS"),
    )
    return table(("parameter", "value"), rows)
