"""Which addresses a caller may have us call: none that only our own network can reach."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

URL_CHARS_MAX = 2_048
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_OF_CLOUDS = (ipaddress.ip_network("168.63.129.16/32"), ipaddress.ip_network("192.0.0.0/24"))
"""Where Azure and Oracle tell a machine its configuration, at addresses that look public."""
_NAME = re.compile(r"[a-z0-9._-]+")
"""An escaped or unusual name may mean another host to the library that connects."""
_LOCAL_NAMES = (".localhost", ".local", ".internal", ".home.arpa")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def target_fault(url: str, *, allow_private: bool) -> str | None:
    """Why `url` may not be called, judged by its text; names are checked when they resolve.

    With `allow_private` plain HTTP is allowed too: it is for closed networks and for trying out.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "must be an absolute URL"
    schemes = ("http", "https") if allow_private else ("https",)
    if parts.scheme not in schemes or not host or port == 0 or len(url) > URL_CHARS_MAX:
        return f"must be an absolute {' or '.join(schemes)} URL"
    if "@" in parts.netloc or not url.isascii() or not url.isprintable() or " " in url:
        return "must be plain ASCII, without spaces, user or password"
    return None if allow_private else _host_fault(host)


class TargetRefused(OSError):
    """A name resolves to an address that must not be called."""


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The hosts that callers may have us call: `host`, `host:port` or `http://host:port`.

    Each is a scheme, a host and a port exactly: without a scheme https, without a port that of the
    scheme. A name may resolve to a private address only where its port is given.
    """

    listed: tuple[str, ...] = ()
    setting: str = "images.hosts"

    def fault(self, url: str) -> str | None:
        """Why `url` may not be called."""
        fault = target_fault(url, allow_private=True)
        if fault is None and _parts(url) not in map(_parts, self.listed):
            fault = f"names a host that the setting {self.setting} does not allow"
        # What is an address already is not resolved, so that it is never checked later.
        host = urlsplit(url).hostname if fault is None else None
        return fault if host is None or host in self.private else _host_fault(host)

    @property
    def private(self) -> frozenset[str]:
        """The hosts that may have a private address."""
        given = [urlsplit(_with_scheme(entry)) for entry in self.listed]
        return frozenset(parts.hostname or "" for parts in given if parts.port is not None)


NO_HOSTS = AllowedHosts()


def _with_scheme(entry: str) -> str:
    return entry if "://" in entry else f"https://{entry}"


def origin(url: str) -> str:
    """Scheme, host and port, in one form for all ways to write them."""
    scheme, host, port = _parts(url)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _parts(url: str) -> tuple[str, str, int]:
    parts = urlsplit(_with_scheme(url))
    port = parts.port or {"http": 80}.get(parts.scheme, 443)
    return parts.scheme, parts.hostname or "", port


def _host_fault(host: str) -> str | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if not _NAME.fullmatch(host):
            return "must name a host by letters, digits, dots and hyphens"
        dotted = f".{host.rstrip('.').lower()}"
        last = dotted.rpartition(".")[2]
        # 2130706433, 0x7f.1 and 127.1 are names to a parser and addresses to a resolver.
        is_number = last.isdigit() or last.startswith("0x")
        local = is_number or dotted.endswith(_LOCAL_NAMES)
        return "must not name a local host" if local else None
    return None if is_public(address) else "must not be a private address"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_private_host(host: str) -> bool:
    """Whether a host, by its text, is in our own network: an address, or a name without a domain
    or with a local one, such as a Kubernetes service has.
    """
    try:
        return not is_public(ipaddress.ip_address(host))
    except ValueError:
        name = host.rstrip(".").lower()
        return "." not in name or f".{name}".endswith((*_LOCAL_NAMES, ".svc"))


def is_public(address: Address) -> bool:
    """Whether an address is one of the public Internet, whatever its notation."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not (
        any(address in network for network in _OF_CLOUDS)
        or address.is_multicast
        or address.is_reserved
        or address.is_loopback
        or address.is_link_local
        or address.is_unspecified
    )
