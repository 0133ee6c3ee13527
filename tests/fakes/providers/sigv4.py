"""AWS Signature Version 4 as a server verifies it, from its specification.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlsplit

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)
_REQUIRED = {"host", "x-amz-date"}


def is_signed(
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    secrets: Mapping[str, str],
    region: str,
    service: str,
) -> bool:
    """Whether one of `secrets`, by access key, signed this POST of these very bytes."""
    found = _AUTHORIZATION.fullmatch(headers.get("Authorization", ""))
    if found is None or found[1] not in secrets or (found[3], found[4]) != (region, service):
        return False
    key_id, day, _, _, names, signature = found.groups()
    signed = names.split(";")
    if not set(signed) >= _REQUIRED or ("X-Amz-Security-Token" in headers) != (
        "x-amz-security-token" in signed
    ):
        return False
    parts = urlsplit(path)
    query = sorted((quote(k, safe="~"), quote(v, safe="~")) for k, v in parse_qsl(parts.query))
    canonical = "\n".join(
        (
            "POST",
            quote(parts.path, safe="/~"),  # encoded a second time, for all services but S3
            "&".join(f"{name}={value}" for name, value in query),
            *(f"{name}:{' '.join(headers[name].split())}" for name in signed),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{headers['X-Amz-Date']}\n{scope}\n{digest}"
    key = f"AWS4{secrets[key_id]}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.compare_digest(hmac.digest(key, to_sign.encode(), "sha256").hex(), signature)
