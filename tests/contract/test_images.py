"""Images reach each provider in its own form and in their place, and a refusal of them is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from assay.domain.completion import Turn
from assay.domain.errors import InputUnsupported, ModelError, RequestRejected
from assay.domain.images import Image
from fakes.images import base64_of, data_uri, jpeg, png
from fakes.providers.subject import PROMPT, Subject

FIRST = replace(Image.from_bytes(png()), detail="low")
SECOND = Image.from_bytes(jpeg())
SEEN = replace(
    PROMPT,
    turns=(PROMPT.turns[0], Turn("user", ("before ", '"quoted" ü', FIRST, "between", SECOND))),
)
TEXTS = ['before "quoted" ü', "between"]


def shown(dialect: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The blocks of the user's turn."""
    blocks: list[dict[str, Any]]
    match dialect:
        case "openai" | "anthropic" | "bedrock":
            blocks = body["messages"][-1]["content"]
        case "openai_responses":
            blocks = body["input"][-1]["content"]
        case "gemini":
            blocks = body["contents"][-1]["parts"]
    return blocks


def expected(dialect: str) -> list[dict[str, Any]]:
    """The same blocks as each vendor documents them."""
    match dialect:
        case "openai":
            texts = [{"type": "text", "text": text} for text in TEXTS]
            images: list[dict[str, Any]] = [
                {"type": "image_url", "image_url": {"url": data_uri(png()), "detail": "low"}},
                {"type": "image_url", "image_url": {"url": data_uri(jpeg(), "image/jpeg")}},
            ]
        case "openai_responses":
            texts = [{"type": "input_text", "text": text} for text in TEXTS]
            images = [
                {"type": "input_image", "image_url": data_uri(png()), "detail": "low"},
                {"type": "input_image", "image_url": data_uri(jpeg(), "image/jpeg")},
            ]
        case "anthropic":
            texts = [{"type": "text", "text": text} for text in TEXTS]
            sources = [("image/png", png()), ("image/jpeg", jpeg())]
            images = [
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": kind, "data": base64_of(content)},
                }
                for kind, content in sources
            ]
        case "bedrock":
            texts = [{"text": text} for text in TEXTS]
            images = [
                {"image": {"format": "png", "source": {"bytes": base64_of(png())}}},
                {"image": {"format": "jpeg", "source": {"bytes": base64_of(jpeg())}}},
            ]
        case _:
            texts = [{"text": text} for text in TEXTS]
            images = [
                {"inlineData": {"mimeType": "image/png", "data": base64_of(png())}},
                {"inlineData": {"mimeType": "image/jpeg", "data": base64_of(jpeg())}},
            ]
    return [texts[0], images[0], texts[1], images[1]]


async def test_images_stand_where_they_are_shown(subject: Subject) -> None:
    """Between the texts before and after them, with the type that their bytes have."""
    await subject.ask(SEEN)
    assert shown(subject.family, subject.server.requests[-1].body) == expected(subject.family)


REFUSALS = [
    (400, "Invalid content type. image_url is only supported by certain models."),
    (400, "messages[0]: unknown variant `image_url`, expected `text`"),
    (400, "At most 0 image(s) may be provided in one request."),
    (422, "judge-1 is not a multimodal model"),
    (400, "'messages.0' : for 'role:user' message content must be a string"),
    (400, "this model does not support image input"),
    (404, "No endpoints found that support image input"),
    (500, "image input is not supported - hint: you may need to provide the mmproj"),
]


@pytest.mark.parametrize(("status", "message"), REFUSALS)
async def test_a_refusal_of_images_is_no_fault_of_the_provider(
    subject: Subject, status: int, message: str
) -> None:
    """Servers say it in many words and with many statuses; the model cannot see, and is there."""
    await subject.server.play(str(status))
    subject.server.error_body = {"error": {"message": message, "type": "x", "code": None}}
    with pytest.raises(InputUnsupported) as caught:
        await subject.ask(SEEN)
    assert message[:20] in caught.value.message
    assert caught.value.call_result.failed == 0
    with pytest.raises(ModelError) as without:
        await subject.ask(PROMPT)
    assert not isinstance(without.value, InputUnsupported)


async def test_another_rejection_of_a_prompt_with_images_is_what_it_was(subject: Subject) -> None:
    """Only what is said of images says that the model takes none."""
    await subject.server.play("400")
    subject.server.error_body = {"error": {"message": "top_k is odd", "type": "x", "code": None}}
    with pytest.raises(RequestRejected):
        await subject.ask(SEEN)
