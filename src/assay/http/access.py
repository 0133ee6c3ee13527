"""API keys, and the tenants that they belong to."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from starlette.datastructures import Headers
from starlette.requests import Request

from assay.http.hosts import LocalHosts
from assay.http.problems import Problem, ProblemError

logger = logging.getLogger(__name__)

KEY_PREFIX = "assay_"
KEY_BYTES = 32
KEY_CHARS_MAX = 512
CHECK_INTERVAL_S = 1.0
"""Shortest time between two checks of the keys file for a change."""
TENANT_CHARS_MAX = 64
_HEX_DIGITS = frozenset("0123456789abcdef")
_TENANT_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@dataclass(frozen=True, slots=True)
class Identity:
    """The tenant that a request acts for, and the attributes of its key."""

    tenant: str
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


OPEN_IDENTITY = Identity("default")


class Access(Protocol):
    """Decides who is calling."""

    def identify(self, headers: Headers) -> Identity:
        """The caller of a request with these headers.

        Raises `ProblemError` (`unauthenticated`).
        """
        ...


def authenticate(request: Request, access: Access) -> Identity:
    """The caller of a request, whose tenant is noted for the request's event.

    Raises `ProblemError` (`unauthenticated`).
    """
    identity = access.identify(request.headers)
    request.state.tenant = identity.tenant
    return identity


class OpenAccess:
    """Admits every caller on this machine as one tenant: `auth.required = false`."""

    def __init__(self, hosts: LocalHosts | None = None) -> None:
        self._hosts = hosts or LocalHosts()

    def identify(self, headers: Headers) -> Identity:
        if not self._hosts.admits(headers.get("host", "")):
            raise _unauthenticated(
                "Without API keys, the Host of a request must be localhost or a loopback address. "
                "Other names need auth.keys_file or auth.hosts."
            )
        return OPEN_IDENTITY


class KeysFile:
    """The keys of a file: lines of `sha256-hex tenant [name=value ...]`, `#` starts a comment.

    A changed file is loaded without a restart; one that cannot be read changes nothing.
    """

    def __init__(self, path: Path, check_interval_s: float = CHECK_INTERVAL_S) -> None:
        """Raises `OSError` or `ValueError` if the file cannot be read."""
        self._path = path
        self._check_interval_s = check_interval_s
        self._version = self._file_version()
        self._keys = parse_keys(path.read_text("utf-8"))
        self._checked_s = time.monotonic()

    def identify(self, headers: Headers) -> Identity:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise _unauthenticated("Send your API key as 'Authorization: Bearer <key>'.")
        if len(key) > KEY_CHARS_MAX:
            raise _unauthenticated("The API key is not known.")
        self._refresh()
        digest = key_digest(key)
        # The lookup is by digest, so its timing reveals nothing about the key. The comparison
        # keeps that true even if the table is one day looked up by a part of the digest.
        kept, identity = self._keys.get(digest, ("", None))
        if identity is None or not hmac.compare_digest(kept, digest):
            raise _unauthenticated("The API key is not known.")
        return identity

    def _refresh(self) -> None:
        now_s = time.monotonic()
        if now_s - self._checked_s < self._check_interval_s:
            return
        self._checked_s = now_s
        try:
            version = self._file_version()
            if version == self._version:
                return
            self._version = version
            self._keys = parse_keys(self._path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            logger.warning("the keys file cannot be loaded, the keys stay unchanged: %s", error)

    def _file_version(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_ino, status.st_size


def parse_keys(text: str) -> dict[str, tuple[str, Identity]]:
    """The table of a keys file; raises `ValueError` that names the line, never its content."""
    keys: dict[str, tuple[str, Identity]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        digest = words[0].lower()
        if len(digest) != hashlib.sha256().digest_size * 2 or not _HEX_DIGITS.issuperset(digest):
            raise ValueError(f"line {number}: the first word must be a SHA-256 in hexadecimal")
        if len(words) == 1 or not is_tenant(words[1]):
            raise ValueError(f"line {number}: the second word must name a tenant")
        pairs = [word.partition("=") for word in words[2:]]
        if not all(name and separator for name, separator, _ in pairs):
            raise ValueError(f"line {number}: each word after the tenant must be name=value")
        attributes = MappingProxyType({name: value for name, _, value in pairs})
        keys[digest] = (digest, Identity(words[1], attributes))
    return keys


def is_tenant(name: str) -> bool:
    """Whether `name` may name a tenant: it becomes part of Redis keys and of metric labels."""
    return 0 < len(name) <= TENANT_CHARS_MAX and _TENANT_CHARS.issuperset(name)


def new_key(tenant: str) -> tuple[str, str]:
    """A new key, to be shown once, and its line for the keys file."""
    if not is_tenant(tenant):
        raise ValueError("a tenant must be 1 to 64 letters, digits, dots, dashes or underscores")
    key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    return key, f"{key_digest(key)} {tenant}"


def key_digest(key: str) -> str:
    """The form in which a key is kept, from which it cannot be recovered."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _unauthenticated(detail: str) -> ProblemError:
    challenge = ("www-authenticate", 'Bearer realm="assay"')
    return ProblemError(Problem("unauthenticated", detail, headers=(challenge,)))
