"""What it means that a request did not reach its provider."""

from __future__ import annotations

import errno
import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from assay.domain.errors import (
    ConnectionRefused,
    ConnectionReset,
    NameUnresolved,
    ProviderDown,
    TlsFailed,
)
from assay.providers.connection_failures import connection_failure

KEY = ConnectionKey("secret.host", 443, True, True, None, None, None)


def untrusted(detail: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"[SSL] {detail} (_ssl.c:1007)")
    error.reason, error.verify_message = "CERTIFICATE_VERIFY_FAILED", detail
    return error


def connector(number: int) -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(KEY, OSError(number, "secret.host"))


def tls(reason: str) -> aiohttp.ClientConnectorSSLError:
    error = ssl.SSLError(1, "x")
    error.reason = reason
    return aiohttp.ClientConnectorSSLError(KEY, error)


def rejected_later() -> aiohttp.ClientOSError:
    error = aiohttp.ClientOSError(1, "secret.host")
    error.__cause__ = ssl.SSLError(1, "x")
    error.__cause__.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    return error


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (
            aiohttp.ClientConnectorCertificateError(KEY, untrusted("certificate has expired")),
            TlsFailed,
            "TLS: certificate verify failed (certificate has expired)",
        ),
        (
            aiohttp.ClientConnectorCertificateError(
                KEY, untrusted("Hostname mismatch, certificate is not valid for 'secret.host'.")
            ),
            TlsFailed,
            "TLS: certificate verify failed (Hostname mismatch)",
        ),
        (tls("WRONG_VERSION_NUMBER"), TlsFailed, "TLS: wrong version number"),
        (rejected_later(), TlsFailed, "TLS: tlsv13 alert certificate required"),
        (
            aiohttp.ClientProxyConnectionError(KEY, OSError(errno.ENETUNREACH, "secret.host")),
            ProviderDown,
            "its proxy cannot be reached",
        ),
        (
            aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "secret.host")),
            NameUnresolved,
            "DNS: the host name cannot be resolved",
        ),
        (connector(errno.ECONNREFUSED), ConnectionRefused, "connection refused"),
        (connector(errno.EHOSTUNREACH), ProviderDown, "No route to host"),
        (connector(errno.ECONNRESET), ConnectionReset, "connection closed before a response"),
        (
            aiohttp.ServerDisconnectedError(),
            ConnectionReset,
            "connection closed before a response",
        ),
        (ConnectionResetError(), ConnectionReset, "connection closed before a response"),
        (aiohttp.InvalidURL("secret.host"), ProviderDown, "the URL or a header is not valid"),
        (aiohttp.ClientPayloadError("secret.host"), ProviderDown, "no valid response"),
    ],
)
def test_each_failure_is_told_apart(
    error: Exception, expected: type[ProviderDown], words: str
) -> None:
    """By its class and in words, without the address that the error's own text may contain."""
    caught = connection_failure("acme", error)
    assert type(caught) is expected
    assert caught.message.startswith(f"acme: {words}")
    assert "secret.host" not in caught.message
    assert caught.log_message == caught.message
