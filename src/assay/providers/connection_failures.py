"""What it means that a request did not reach its provider, or got no response."""

from __future__ import annotations

import errno
import os
import ssl

import aiohttp

from assay.domain.errors import (
    ConnectionRefused,
    ConnectionReset,
    KeyRejected,
    ModelError,
    NameUnresolved,
    ProviderDown,
    TlsFailed,
)
from assay.domain.targets import TargetRefused

PROXY_UNAUTHORISED = 407


def connection_failure(provider: str, error: Exception) -> ModelError:
    """The `ProviderDown` for an error of the HTTP client, or `KeyRejected` by a proxy.

    Its message has no address: the text of `error` may contain one, and is not used.
    """
    kind: type[ModelError] = ProviderDown
    match error:
        case aiohttp.ClientHttpProxyError() | aiohttp.ClientProxyConnectionError():
            return _proxy_failure(provider, error)
        case aiohttp.ClientConnectorCertificateError():
            kind, words = TlsFailed, f"TLS: {_tls_reason(error.certificate_error)}"
        case aiohttp.ClientSSLError():
            kind, words = TlsFailed, f"TLS: {_tls_reason(error.os_error)}"
        case aiohttp.ClientConnectorDNSError():
            refused = isinstance(error.os_error, TargetRefused)
            why = "resolves to a private address" if refused else "cannot be resolved"
            kind, words = NameUnresolved, f"DNS: the host name {why}"
        case OSError(errno=errno.ECONNREFUSED):
            kind, words = ConnectionRefused, "connection refused"
        case aiohttp.ClientConnectorError(errno=int(number)) if number != errno.ECONNRESET:
            words = os.strerror(number)
        case aiohttp.ClientError(__cause__=ssl.SSLError() as cause):
            # TLS 1.3 rejects the client's certificate only after the handshake.
            kind, words = TlsFailed, f"TLS: {_tls_reason(cause)}"
        case aiohttp.ClientConnectionError() | ConnectionError():
            kind, words = ConnectionReset, "connection closed before a response"
        case ValueError():
            words = "the URL or a header is not valid"
        case _:
            words = f"no valid response ({type(error).__name__})"
    return kind(f"{provider}: {words}")


def _proxy_failure(
    provider: str, error: aiohttp.ClientHttpProxyError | aiohttp.ClientProxyConnectionError
) -> ModelError:
    """A proxy that does not let the request through."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        kind = KeyRejected if error.status == PROXY_UNAUTHORISED else ProviderDown
        return kind(f"{provider}: its proxy answered {error.status}")
    if error.errno == errno.ECONNREFUSED:
        return ConnectionRefused(f"{provider}: its proxy refused the connection")
    return ProviderDown(f"{provider}: its proxy cannot be reached")


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
