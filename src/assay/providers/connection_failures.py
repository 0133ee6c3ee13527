"""What it means that a request did not reach its provider, or got no response."""

from __future__ import annotations

import errno
import os
import ssl

import aiohttp

from assay.domain.errors import (
    ConnectionRefused,
    ConnectionReset,
    NameUnresolved,
    ProviderDown,
    TlsFailed,
)


def connection_failure(provider: str, error: Exception) -> ProviderDown:
    """The `ProviderDown` for an error of the HTTP client.

    Its message has no address: the text of `error` may contain one, and is not used.
    """
    kind: type[ProviderDown] = ProviderDown
    match error:
        case aiohttp.ClientConnectorCertificateError():
            kind, words = TlsFailed, f"TLS: {_tls_reason(error.certificate_error)}"
        case aiohttp.ClientSSLError():
            kind, words = TlsFailed, f"TLS: {_tls_reason(error.os_error)}"
        case aiohttp.ClientConnectorDNSError():
            kind, words = NameUnresolved, "DNS: the host name cannot be resolved"
        case OSError(errno=errno.ECONNREFUSED):
            kind, words = ConnectionRefused, "connection refused"
        case aiohttp.ClientConnectorError(errno=int(number)) if number != errno.ECONNRESET:
            words = os.strerror(number)
        case aiohttp.ClientConnectionError() | ConnectionError():
            kind, words = ConnectionReset, "connection closed before a response"
        case ValueError():
            words = "the URL or a header is not valid"
        case _:
            words = f"no valid response ({type(error).__name__})"
    return kind(f"{provider}: {words}")


def _tls_reason(error: Exception) -> str:
    """The reason in OpenSSL's words, such as `certificate verify failed (certificate has expired)`.

    What follows a comma names the host.
    """
    reason = getattr(error, "reason", None) or "the handshake failed"
    words = str(reason).lower().replace("_", " ")
    if isinstance(error, ssl.SSLCertVerificationError):
        detail = error.verify_message.partition(",")[0]
        return f"{words} ({detail})" if detail else words
    return words
