"""The RateLimit fields of a refusal."""

from __future__ import annotations

import pytest

from assay.http.rate_limits import rate_limit_fields


def test_the_fields_name_the_limit_and_the_wait() -> None:
    """Whole numbers, the wait rounded up as in Retry-After."""
    fields = dict(rate_limit_fields("openai/judge", 60.5, 11.2))
    assert fields == {
        "ratelimit-policy": '"openai/judge";q=60;w=60',
        "ratelimit": '"openai/judge";r=0;t=12',
    }


@pytest.mark.parametrize(
    ("model", "written"), [('a"b', '"a\\"b"'), ("a\\b", '"a\\\\b"'), ("é", None), ("a\r\nb", None)]
)
def test_a_name_is_escaped_or_left_out(model: str, written: str | None) -> None:
    """No configured name can break a header line."""
    fields = dict(rate_limit_fields(model, 60, 1))
    assert (fields["ratelimit"].partition(";")[0] if fields else None) == written
