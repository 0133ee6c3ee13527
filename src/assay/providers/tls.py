"""TLS with the certificates of a closed network, read again when their files change."""

from __future__ import annotations

import logging
import ssl
import time
from pathlib import Path

logger = logging.getLogger(__name__)

CHECK_EVERY_S = 1.0


class Tls:
    """A callable that returns the context for new connections.

    `ca_file` replaces the system's authorities. While changed files do not fit together, the last
    context stays. At the start they must: raises `ValueError` that names the setting.
    """

    def __init__(self, ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> None:
        self._ca_file, self._cert_file, self._key_file = ca_file, cert_file, key_file
        self._files = [file for file in (ca_file, cert_file, key_file) if file is not None]
        self._context = self._read()
        self._changed_ns = self._changes()
        self._next_check_s = time.monotonic() + CHECK_EVERY_S

    def __call__(self) -> ssl.SSLContext:
        if time.monotonic() >= self._next_check_s:
            self._next_check_s = time.monotonic() + CHECK_EVERY_S
            if (changed_ns := self._changes()) != self._changed_ns:
                self._changed_ns = changed_ns
                try:
                    self._context = self._read()
                except ValueError as error:
                    logger.warning("changed certificates are not used: %s", error)
        return self._context

    def _changes(self) -> list[int]:
        return [file.stat().st_mtime_ns if file.exists() else 0 for file in self._files]

    def _read(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._ca_file)
        except OSError as error:
            raise ValueError(f"ca_file: {self._ca_file}: {_reason(error)}") from None
        if self._cert_file is not None:
            for name, file in (("cert", self._cert_file), ("key", self._key_file)):
                try:
                    if file is not None:
                        file.read_bytes()
                except OSError as error:
                    raise ValueError(f"client_{name}_file: {file}: {error.strerror}") from None
            try:
                # Without a password OpenSSL would ask for one on the terminal.
                context.load_cert_chain(self._cert_file, self._key_file, password=lambda: "")
            except OSError as error:
                raise ValueError(
                    f"client_cert_file: {self._cert_file} with the key in "
                    f"{self._key_file or 'the same file'}: {_reason(error)}"
                ) from None
        return context


def _reason(error: OSError) -> str:
    """Why a file is of no use: the system's words or OpenSSL's."""
    if not isinstance(error, ssl.SSLError):
        return error.strerror or "cannot be read"
    reason = (error.reason or "").lower()
    if "values_mismatch" in reason:
        return "the certificate does not match the key"
    if "no_certificate" in reason:
        return "holds no certificate"
    return f"cannot be used ({reason.replace('_', ' ') or 'not in PEM form, or encrypted'})"
