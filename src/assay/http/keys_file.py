"""API keys in a file, which admits what it clearly allows and nothing else.

Each line is `sha256-hex tenant [role=read|write|operator] [expires=TIME] [name=NAME]`; `#` starts a
comment. A line that is not clear allows nothing and takes no other line along, so that deleting a
line revokes its key whatever is wrong elsewhere.
"""

from __future__ import annotations

import hashlib
import logging
import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from starlette.datastructures import Headers

from assay.domain.events import KeysFileFaulty, KeysLoaded
from assay.domain.ids import shown_time
from assay.domain.ports import EventSink
from assay.http.access import ROLES, Identity, Role, unauthenticated

logger = logging.getLogger(__name__)

KEY_PREFIX = "assay_"
KEY_BYTES = 32
KEY_CHARS_MAX = 512
CHECK_INTERVAL_S = 1.0
"""Shortest time between two checks of the file for a change."""
NAME_CHARS_MAX = 64
FINGERPRINT_CHARS = 16
DATE_CHARS = len("2026-12-31")
FAULTS_LOGGED_MAX = 10
_HEX_DIGITS = frozenset("0123456789abcdef")
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
"""Errors that last; any other one, such as too many open files, says nothing about the keys."""


class KeysFile:
    """Admits the holders of a file's keys; a changed file is loaded without a restart.

    A file that is gone admits no caller. Faults are logged and emitted as an event.
    """

    def __init__(
        self,
        path: Path,
        events: EventSink,
        check_interval_s: float = CHECK_INTERVAL_S,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Raises `OSError` if the file cannot be read."""
        self._path = path
        self._events = events
        self._check_interval_s = check_interval_s
        self._now_s = now_s
        self._version: tuple[int, ...] = self._file_version()
        self._keys: Mapping[str, Identity] = {}
        self._load()
        self._checked_s = time.monotonic()

    def identify(self, headers: Headers) -> Identity:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise unauthenticated("Send your API key as 'Authorization: Bearer <key>'.")
        if len(key) > KEY_CHARS_MAX:
            raise unauthenticated("The API key is not known.")
        # The lookup is by digest, so its timing reveals nothing about the key.
        return self.holder(key_digest(key))

    def holder(self, digest: str) -> Identity:
        """See `Access`."""
        self._refresh()
        identity = self._keys.get(digest)
        if identity is None:
            raise unauthenticated("The API key is not known.")
        if identity.expires_s <= self._now_s():
            raise unauthenticated("The API key has expired.")
        return identity

    def _refresh(self) -> None:
        now_s = time.monotonic()
        if now_s - self._checked_s < self._check_interval_s:
            return
        self._checked_s = now_s
        try:
            version = self._file_version()
            if version != self._version:
                self._load()
                self._version = version
        except _GONE as error:
            was_there, self._keys, self._version = bool(self._version), {}, ()
            if was_there:
                self._report([f"{error.strerror}: no key is accepted"])
                self._announce()
        except OSError as error:
            logger.warning("the keys file cannot be read, the keys stay unchanged: %s", error)

    def _load(self) -> None:
        self._keys, faults = parse_keys(self._path.read_text("utf-8-sig", errors="replace"))
        if faults:
            self._report(faults)
        self._announce()

    def _announce(self) -> None:
        """Say which keys are allowed now, so that changes can be recorded."""
        keys = {
            digest[:FINGERPRINT_CHARS]: (
                *(one.tenant, one.role, one.key_name),
                "" if one.expires_s == math.inf else shown_time(int(one.expires_s * 1_000)),
            )
            for digest, one in self._keys.items()
        }
        self._events.emit(KeysLoaded(keys))

    def _report(self, faults: Sequence[str]) -> None:
        for fault in faults[:FAULTS_LOGGED_MAX]:
            logger.error("keys file %s: %s", self._path, fault)
        self._events.emit(KeysFileFaulty(len(faults)))

    def _file_version(self) -> tuple[int, ...]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_ino, status.st_size


def parse_keys(text: str) -> tuple[dict[str, Identity], list[str]]:
    """The identities by digest, and what is wrong: by line number, never with its content."""
    keys: dict[str, Identity] = {}
    unclear: set[str] = set()
    faults: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        digest = words[0].lower()
        try:
            identity = _identity(digest, words[1:])
        except ValueError as error:
            faults.append(f"line {number} allows nothing: {error}")
            unclear.add(digest)
            continue
        if keys.setdefault(digest, identity) != identity:
            faults.append(f"line {number}: an earlier line says otherwise of the same key")
            unclear.add(digest)
    return {digest: keys[digest] for digest in keys.keys() - unclear}, faults


def _identity(digest: str, words: Sequence[str]) -> Identity:
    if len(digest) != hashlib.sha256().digest_size * 2 or not _HEX_DIGITS.issuperset(digest):
        raise ValueError("the first word must be a SHA-256 in hexadecimal")
    if not words or not is_name(words[0]):
        raise ValueError("the second word must name a tenant")
    attributes = dict(_attributes(words[1:]))
    if len(attributes) < len(words) - 1:
        raise ValueError("an attribute is given twice")
    return Identity(
        words[0],
        role_from(attributes.get("role", "write")),
        attributes.get("name", ""),
        expiry_s(attributes["expires"]) if "expires" in attributes else math.inf,
    )


def _attributes(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or name not in ("role", "expires", "name"):
            raise ValueError("after the tenant there may be role=, expires= and name=")
        if name == "name" and not is_name(value):
            raise ValueError("the key's name must be 1 to 64 letters, digits, dots, dashes or _")
        yield name, value


def role_from(text: str) -> Role:
    """The role of that name; raises `ValueError`."""
    for role in ROLES:
        if role == text:
            return role
    raise ValueError(f"role must be one of {', '.join(ROLES)}")


def expiry_s(text: str) -> float:
    """The end of a day in UTC (`2026-12-31`) or a time with its offset; raises `ValueError`."""
    try:
        time_ = datetime.fromisoformat(text)
        if len(text) == DATE_CHARS:
            return (time_.replace(tzinfo=UTC) + timedelta(days=1)).timestamp()
    except (ValueError, OverflowError):
        time_ = None
    if time_ is None or time_.tzinfo is None:
        raise ValueError("expires must be like 2026-12-31 or 2026-12-31T18:00:00Z")
    return time_.timestamp()


def is_name(text: str) -> bool:
    """Whether `text` may name a tenant or a key: it goes into Redis keys, labels and logs."""
    return 0 < len(text) <= NAME_CHARS_MAX and _NAME_CHARS.issuperset(text)


def new_key(tenant: str, *attributes: str) -> tuple[str, str]:
    """A new key, to be shown once, and its line for the file; raises `ValueError`."""
    if not is_name(tenant):
        raise ValueError("a tenant must be 1 to 64 letters, digits, dots, dashes or underscores")
    key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    digest = key_digest(key)
    _identity(digest, [tenant, *attributes])
    return key, " ".join([digest, tenant, *attributes])


def key_digest(key: str) -> str:
    """The form in which a key is kept, from which it cannot be recovered."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
