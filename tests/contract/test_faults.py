"""Every fault that the server can play becomes the error that it means, for every provider."""

from __future__ import annotations

import pytest

from assay.domain.errors import ModelError
from fakes.providers.faults import FAULTS
from fakes.providers.server import PROTOCOLS
from fakes.providers.subject import KEY, SHORT_SILENCE_S, Subject

ENDINGS = {"content_filter": "refusal", "prompt_blocked": "refusal"}
"""What a filter is called where it is no error."""


@pytest.mark.parametrize("name", FAULTS)
async def test_fault_becomes_its_error(subject: Subject, name: str) -> None:
    """A fault raises the error class that it means, without the key, or leaves the answer whole."""
    fault = FAULTS[name]
    if fault.behaviour.startswith("silent"):
        subject.silence_s = SHORT_SILENCE_S
    subject.server.echo = f" with {KEY}"
    await subject.server.play(name)
    raises = fault.raises
    if PROTOCOLS[subject.dialect].filter_is_refusal and fault.ending in (
        "content_filter",
        "prompt_blocked",
    ):
        raises = None  # a refusal, in Anthropic's words
    if raises is None:
        completion = await subject.ask()
        assert completion.finish == ENDINGS.get(fault.ending, fault.ending)
        return
    with pytest.raises(ModelError) as caught:
        await subject.ask()
    if name == "error_mid" and not subject.stream:
        return  # there is no middle to put it in
    assert type(caught.value) is raises, caught.value
    assert caught.value.retry_after_s == fault.retry_after_s
    assert KEY not in f"{caught.value} {caught.value!r}"
