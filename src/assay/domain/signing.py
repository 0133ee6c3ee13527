"""Signed messages, after the Standard Webhooks specification."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

SECRET_PREFIX = "whsec_"  # noqa: S105  # the prefix of every secret, by the specification
SECRET_BYTES = range(24, 65)
"""Length of a secret, by the specification."""
SECRET_FORM = "must be 'whsec_' and 24 to 64 bytes in base64"  # noqa: S105  # the form, no secret
MESSAGE_ID = "webhook-id"


def is_secret(value: str) -> bool:
    """Whether messages can be signed with it."""
    try:
        raw = base64.b64decode(value.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    return value.startswith(SECRET_PREFIX) and len(raw) in SECRET_BYTES


def signature_headers(secret: str, message_id: str, body: str) -> dict[str, str]:
    """The headers by which a receiver knows who sent a message, and when."""
    now = datetime.now(UTC)
    return {
        MESSAGE_ID: message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, now, body),
    }
