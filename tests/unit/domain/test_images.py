"""What is read of an image, in which forms it may be sent, and what it counts."""

from __future__ import annotations

from typing import Any

import pytest

from assay.domain.completion import Prompt, Turn
from assay.domain.errors import RequestError
from assay.domain.evaluation import Case
from assay.domain.images import (
    IMAGE_BYTES_MAX,
    IMAGES_MAX,
    SEGMENTS_MAX,
    TOKENS_MAX,
    TOKENS_MIN,
    Image,
    ImageFault,
    image_in,
    images_in,
    replaced,
)
from assay.domain.tokens import prompt_tokens
from fakes.calls import read_text
from fakes.images import base64_of, data_uri, gif, jpeg, message, part, png, webp

URL = "https://cdn.example/a.png"


@pytest.mark.parametrize(
    ("content", "format_"),
    [
        (png(640, 480), "png"),
        (jpeg(640, 480), "jpeg"),
        (gif(640, 480), "gif"),
        (webp(b"VP8X", 640, 480), "webp"),
        (webp(b"VP8L", 640, 480), "webp"),
        (webp(b"VP8 ", 640, 480), "webp"),
    ],
)
def test_type_and_size_are_what_the_bytes_say(content: bytes, format_: str) -> None:
    """Whatever type is declared: that of the bytes is sent on."""
    image = image_in(part(data_uri(content, "image/tiff")))
    assert image is not None
    assert (image.format, image.width, image.height) == (format_, 640, 480)
    assert image.data_uri == f"data:image/{format_};base64,{base64_of(content)}"


@pytest.mark.parametrize("cut", [8, 9, 12, 20, 23])
@pytest.mark.parametrize("make", [png, jpeg, gif, webp])
def test_a_header_that_is_cut_counts_as_the_largest_image(make: Any, cut: int) -> None:
    """Nothing is decoded, so nothing can fail; the estimate stays on the safe side."""
    try:
        image = Image.from_bytes(make()[:cut])
    except ImageFault:
        return  # not even its first bytes are there
    assert TOKENS_MIN <= image.tokens <= TOKENS_MAX
    if not (image.width and image.height):
        assert image.tokens == TOKENS_MAX


def test_a_jpeg_of_fillers_is_read_for_a_bounded_time() -> None:
    """Segments are passed one by one, and only so many."""
    endless = b"\xff\xd8" + b"\xff\xe0\x00\x02" * (2 * SEGMENTS_MAX)
    assert Image.from_bytes(endless).tokens == TOKENS_MAX
    stuck = b"\xff\xd8" + b"\xff\xe0\x00\x00" * SEGMENTS_MAX
    assert Image.from_bytes(stuck).tokens == TOKENS_MAX


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [(1, 1, TOKENS_MIN), (512, 512, 656), (1024, 1024, 2_622), (100_000, 100_000, TOKENS_MAX)],
)
def test_tokens_follow_from_pixels(width: int, height: int, tokens: int) -> None:
    """The size of a bomb is only a number: it is never decoded."""
    assert Image.from_bytes(png(width, height)).tokens == tokens


def test_every_form_of_a_part_is_an_image() -> None:
    """Chat completions, the Responses API and Anthropic's messages, by content and by URL."""
    data = base64_of(png())
    sources = [
        {"type": "image_url", "image_url": {"url": data_uri(png())}},
        {"type": "image_url", "image_url": data_uri(png())},
        {"type": "input_image", "image_url": data_uri(png())},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
    ]
    assert {image_in(source) for source in sources} == {Image.from_bytes(png())}
    by_url = [
        {"type": "image_url", "image_url": {"url": URL}},
        {"type": "input_image", "image_url": URL},
        {"type": "image", "source": {"type": "url", "url": URL}},
    ]
    assert [image.url for source in by_url if (image := image_in(source))] == [URL] * 3
    detailed = image_in({"type": "input_image", "image_url": data_uri(png()), "detail": "low"})
    assert detailed is not None
    assert detailed.detail == "low"


@pytest.mark.parametrize("other", [{}, {"type": "text", "text": "x"}, "text", None, 5, []])
def test_other_parts_are_none(other: Any) -> None:
    """They stay as they are."""
    assert image_in(other) is None


PDF = b"%PDF-1.7 and so on"
FAULTS: list[tuple[dict[str, Any], str, tuple[str, ...]]] = [
    (part(data_uri(PDF)), "is a PDF, not an image", ("image_url", "url")),
    (part(data_uri(b"<svg/>", "image/svg+xml")), "is not an image", ("image_url", "url")),
    (part("data:image/png;base64,"), "base64", ("image_url", "url")),
    (part("data:image/png;base64,@@@@"), "must be base64", ("image_url", "url")),
    (part("data:image/png;base64,iVBO Rw0K"), "must be base64", ("image_url", "url")),
    (part("data:image/png;base64,iVBORw0KGg\u00e9"), "must be base64", ("image_url", "url")),
    (part("data:image/png,abc"), "data URI in base64", ("image_url", "url")),
    (part("ftp://cdn.example/a"), "data URI or an http", ("image_url", "url")),
    (part("file:///etc/passwd"), "data URI or an http", ("image_url", "url")),
    ({"type": "image_url"}, "data URI or an http", ("image_url",)),
    ({"type": "input_image", "file_id": "file-1"}, "data URI or an http", ("image_url",)),
    ({"type": "input_image", "image_url": 5}, "data URI or an http", ("image_url",)),
    ({"type": "image", "source": {"type": "file"}}, "base64", ("source",)),
    ({"type": "image", "source": {"data": None}}, "base64", ("source", "data")),
    (
        {"type": "input_image", "image_url": URL, "detail": "huge"},
        "detail",
        ("image_url",),
    ),
    (
        part("data:image/png;base64," + "A" * (IMAGE_BYTES_MAX * 4 // 3 + 8)),
        "more than",
        ("image_url", "url"),
    ),
]


@pytest.mark.parametrize(("given", "said", "location"), FAULTS)
def test_what_is_no_image_is_a_fault_at_its_place(
    given: dict[str, Any], said: str, location: tuple[str, ...]
) -> None:
    """The message names what is wrong and never quotes the content."""
    with pytest.raises(ImageFault, match=said) as caught:
        image_in(given)
    assert caught.value.location == location
    assert len(caught.value.message) < 200


def test_a_fault_among_messages_has_the_whole_path() -> None:
    """Through messages, their content, and the results of tools."""
    result = {"type": "tool_result", "content": [part(PDF)]}
    with pytest.raises(ImageFault) as caught:
        replaced([{"role": "user", "content": ["x", result]}], image_in)
    assert caught.value.location == (0, "content", 1, "content", 0, "image_url", "url")


def test_what_has_no_images_is_the_very_same() -> None:
    """Nothing is copied, and no text is looked at."""
    messages = [{"role": "user", "content": "x"}, {"role": "user", "content": [{"text": "y"}]}]
    assert replaced(messages, image_in) is messages
    case = Case.from_fields({"input": messages, "output": "a"})
    assert case.input is not None
    assert all(ours is theirs for ours, theirs in zip(case.input, messages, strict=True))
    assert case.images == []


def test_a_case_has_its_images_in_place() -> None:
    """In messages, in results of tools, and among contexts and references."""
    result = {"type": "function_call_output", "call_id": "1", "output": [part(png(4))]}
    case = Case.from_fields(
        {
            "input": [message("Which?", png(1)), result],
            "output": [message(png(5), role="assistant")],
            "context": ["a text", part(png(2)), {"type": "text", "text": "b"}],
            "reference": [part(png(3))],
        }
    )
    assert [image.width for image in case.images] == [1, 4, 2, 3, 5]
    assert (case.context[0], case.context[2]) == ("a text", "b")
    assert isinstance(case.reference[0], Image)


def test_a_case_has_so_many_images_and_no_more() -> None:
    """The bound holds over all its fields."""
    half = [part(png())] * (IMAGES_MAX // 2)
    Case.from_fields({"output": "x", "context": half, "reference": half})
    with pytest.raises(RequestError, match=str(IMAGES_MAX)):
        Case.from_fields({"output": "x", "context": half, "reference": [*half, part(png())]})


def test_an_image_never_shows_its_content() -> None:
    """In no text that is made of it, or of what holds it."""
    image = Image.from_bytes(png())
    held = Case.from_fields({"output": [message(png())]})
    prompt = Prompt((Turn("user", ("a", image)),), read_text)
    for shown in (repr(image), str(image), repr(held), repr(prompt), prompt.turns[0].text):
        assert image.data not in shown
        assert image.digest[:12] in shown


def test_images_are_equal_by_content() -> None:
    """That is what the keys of caches and of calls in flight compare."""
    assert Image.from_bytes(png()) == Image.from_bytes(png())
    assert hash(Image.from_bytes(png())) == hash(Image.from_bytes(png()))
    assert Image.from_bytes(png(color=1)) != Image.from_bytes(png(color=2))


def test_a_prompt_counts_its_images() -> None:
    """Their tokens in the estimate, their characters in its size."""
    image = Image.from_bytes(png(1024, 1024))
    text, shown = Turn("user", ("a" * 40,)), Turn("user", ("a" * 40, image))
    assert prompt_tokens(Prompt((text,), read_text)) == 10
    assert prompt_tokens(Prompt((shown,), read_text)) == 10 + image.tokens
    assert shown.size == 40 + len(image.data)
    assert [type(block) for block in Turn("user", (image, "a", "b", image)).blocks()] == [
        Image,
        Turn,
        Image,
    ]


def test_fetched_images_take_the_places_of_their_urls() -> None:
    """Everywhere in the case, by their URLs."""
    case = Case.from_fields({"output": [message(part(URL))], "context": [part(URL), "x"]})
    image = Image.from_bytes(png())
    loaded = case.with_images({URL: image})
    assert loaded.images == [image, image]
    assert images_in(case.output)[0].url == URL
