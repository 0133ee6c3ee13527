"""What a host or a URL in the configuration may be."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass


def checked_base_url(url: str) -> str:
    """The URL of an API, to which paths are added; raises `ValueError` for any other."""
    parts = _http_url(url)
    if parts is None or any(char.isspace() for char in url):
        raise ValueError("must be an http(s) URL with a host, such as https://host/v1")
    if parts.query or parts.fragment:
        raise ValueError(
            "must have no query and no fragment, since paths are added to it: parameters belong in "
            '`query`. For Azure\'s classic endpoint, use `dialect = "azure"` and `api_version`'
        )
    if "@" in parts.netloc:
        raise ValueError(
            "must have no user and no password: send them in `headers`, as a secret in "
            "`Authorization`"
        )
    return url


def environment_proxy(url: str) -> str | None:
    """The proxy that the environment names for `url`; None if it names none."""
    parts = urlsplit(url)
    proxies = getproxies()
    if proxy_bypass(parts.netloc, proxies):
        return None
    return proxies.get(parts.scheme) or proxies.get("all")


def check_proxy(url: str) -> None:
    """Raises `ValueError`, without the URL, for one that is not of an HTTP proxy."""
    parts = _http_url(url)
    if parts is None or parts.path.strip("/") or parts.query:
        raise ValueError("must be the URL of an HTTP proxy, such as http://user:password@host:3128")


def _http_url(url: str) -> SplitResult | None:
    """The parts of an http(s) URL with a host; None for anything else."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None
