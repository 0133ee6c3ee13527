"""What a host or a URL in the configuration may be."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_base_url(url: str) -> str:
    """The URL of an API, to which paths are added; raises `ValueError` for any other."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(char.isspace() for char in url):
        raise ValueError("must be an http(s) URL with a host, such as https://host/v1")
    if parts.query or parts.fragment:
        raise ValueError(
            "must have no query and no fragment, since paths are added to it. For Azure, use the "
            "v1 endpoint, https://NAME.openai.azure.com/openai/v1, which takes no api-version"
        )
    return url
