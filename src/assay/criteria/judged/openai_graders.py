"""OpenAI's graders, accepted as they are: `string_check`, `score_model`, `label_model`.

Source: https://developers.openai.com/api/docs/guides/graders. The words of a template are the
author's and trusted; what replaces its placeholders is untrusted and goes into delimiters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from assay.criteria.base import Finding, Judged, Question
from assay.criteria.frozen import Frozen
from assay.criteria.judged.primitives import LABELS_MAX, LabelText, distinct, finding_of
from assay.criteria.number_range import InRange
from assay.criteria.placeholders import (
    PLACEHOLDER,
    TemplateText,
    check_placeholders,
    output_paths,
    placeholder_images,
    placeholder_texts,
)
from assay.criteria.registry import criterion
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case, JudgeSpec
from assay.domain.images import Image, ImageFault, UrlFault, image_in, no_fault
from assay.domain.sampling import Effort
from assay.prompts.untrusted import Piece, image_pieces
from assay.verdicts.reader import Reading
from assay.verdicts.scales import LabelScale, NumberScale

MESSAGES_MAX = 32
ROLE_CHARS_MAX = 64


def _image_or_placeholder(url: str) -> str:
    if PLACEHOLDER.fullmatch(url):
        return check_placeholders(url)
    try:
        _image(url, lambda _: "must be a data URI, or the placeholder of a field with images")
    except ImageFault as fault:
        raise PydanticCustomError("image", "{fault}", {"fault": fault.message}) from None
    return url


def _image(url: str, url_fault: UrlFault = no_fault) -> Image | None:
    return image_in({"type": "input_image", "image_url": url}, url_fault)


class TextBlock(Frozen):
    """A text block of a message."""

    type: Literal["input_text", "output_text", "text"]
    text: TemplateText


class ImageBlock(Frozen):
    """An image of the author as a data URI, or a placeholder for images of the case."""

    type: Literal["input_image"]
    image_url: Annotated[str, AfterValidator(_image_or_placeholder)]
    detail: Literal["auto", "low", "high", "original"] | None = None
    file_id: None = Field(default=None, description="No image is stored as a file.")

    @property
    def is_placeholder(self) -> bool:
        return PLACEHOLDER.fullmatch(self.image_url) is not None

    @property
    def text(self) -> str:
        return self.image_url if self.is_placeholder else str(_image(self.image_url))

    def images(self, case: Case) -> list[Image]:
        """What it shows of the case; raises `NotApplicable` where a field has no image."""
        if (found := PLACEHOLDER.fullmatch(self.image_url)) is not None:
            images = placeholder_images(found.group(1), case)
            if not images:
                raise NotApplicable("input_unsupported", f"{found.group(1)} has no image.")
        else:
            images = [image for image in [_image(self.image_url)] if image is not None]
        return [replace(image, detail=self.detail or image.detail) for image in images]


class AudioBlock(Frozen):
    """Sound, which no judge is sent: the criterion is unscored."""

    type: Literal["input_audio"]
    input_audio: dict[str, Any]
    text: ClassVar[str] = "[sound]"


ContentBlock = Annotated[TextBlock | ImageBlock | AudioBlock, Field(discriminator="type")]


def _kind(value: Any) -> str:
    """The tag of a union's branch, so that only the faults of that branch are reported."""
    if isinstance(value, str):
        return "<text>"
    return "<list>" if isinstance(value, list | tuple) else "<block>"


_OneBlock = Annotated[
    Annotated[TemplateText, Tag("<text>")] | Annotated[ContentBlock, Tag("<block>")],
    Discriminator(_kind),
]
_Blocks = Annotated[tuple[_OneBlock, ...], Field(max_length=MESSAGES_MAX)]
TemplateContent = Annotated[
    Annotated[TemplateText, Tag("<text>")]
    | Annotated[ContentBlock, Tag("<block>")]
    | Annotated[_Blocks, Tag("<list>")],
    Discriminator(_kind),
]


class TemplateMessage(Frozen):
    """A message of a grader, with placeholders."""

    type: Literal["message"] | None = None
    role: str = Field(min_length=1, max_length=ROLE_CHARS_MAX)
    content: TemplateContent

    @property
    def blocks(self) -> Sequence[Any]:
        return self.content if isinstance(self.content, tuple) else (self.content,)

    @property
    def text(self) -> str:
        return "\n".join(block if isinstance(block, str) else block.text for block in self.blocks)

    @model_validator(mode="after")
    def _placeholders_bounded(self) -> Self:
        check_placeholders(self.text)  # the bound holds for all blocks of a message together
        return self


class SamplingParams(Frozen):
    """OpenAI's sampling parameters."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)
    max_completions_tokens: int | None = Field(default=None, ge=1, le=100_000)
    top_p: float | None = Field(default=None, ge=0, le=1)
    reasoning_effort: Effort | None = None


NO_PARAMS = SamplingParams()


class _ModelGrader(Judged):
    """A grader that asks its own `model` with its own messages."""

    family: ClassVar[str] = "judged"

    model: str = Field(min_length=1, max_length=200, description="Asked unless `judge` is given.")
    input: tuple[TemplateMessage, ...] = Field(min_length=1, max_length=MESSAGES_MAX)
    sampling_params: SamplingParams | None = None

    @field_validator("input")
    @classmethod
    def _says_something(cls, messages: tuple[TemplateMessage, ...]) -> tuple[TemplateMessage, ...]:
        if not any(message.text.strip() for message in messages):
            raise PydanticCustomError("blank", "the messages must not all be blank")
        return messages

    @property
    def params(self) -> SamplingParams:
        return self.sampling_params or NO_PARAMS

    def judged_by(self, default: JudgeSpec) -> JudgeSpec:
        if self.judge is not None:
            return super().judged_by(default)
        return replace(
            default,
            models=(self.model,),
            strategy=None,
            cascade=None,
            fallback="any",
            temperature=self.params.temperature,
            seed=self.params.seed,
            top_p=self.params.top_p,
            reasoning_effort=self.params.reasoning_effort,
        )

    @property
    def output_paths(self) -> tuple[str, ...]:
        return output_paths(self._names)

    @property
    def _names(self) -> list[str]:
        return [name for message in self.input for name in PLACEHOLDER.findall(message.text)]

    def messages(self) -> list[tuple[str, str]]:
        """Role and text of each message, with each placeholder as the title that the judge sees."""
        return [
            (message.role, PLACEHOLDER.sub(lambda m: f"[{m.group(1)}]", message.text))
            for message in self.input
        ]

    def asked_with(self, question: Question[Finding], case: Case) -> Question[Finding]:
        """The question about what is behind the placeholders, each once, as they appear.

        Raises `NotApplicable` for sound, and where a field has no image in the place of one.
        """
        content: list[Piece] = []
        for name, text in placeholder_texts(self._names, case).items():
            images = placeholder_images(name, case)
            content += [(name, text)] if text or not images else []
            content += image_pieces(name, images)
        for block in (block for message in self.input for block in message.blocks):
            content += self._image_pieces(block, case)
        return replace(
            question, content=content, max_output_tokens=self.params.max_completions_tokens
        )

    def _image_pieces(self, block: Any, case: Case) -> list[Piece]:
        """The grader's own image in a block; that of a placeholder is already shown."""
        if isinstance(block, AudioBlock):
            message = "The grader has sound, which no judge is sent."
            raise NotApplicable("input_unsupported", message)
        if not isinstance(block, ImageBlock):
            return []
        images = block.images(case)
        return [] if block.is_placeholder else [(f"{one} of the grader", one) for one in images]


@criterion
class ScoreModel(InRange, _ModelGrader):
    """OpenAI's score model: a judge's number within `range`, scaled to 0..1.

    It passes from `pass_threshold` (on the range's own scale; the middle where absent).
    """

    default_threshold: ClassVar[float] = 0.5
    example: ClassVar = {
        "output": "Paris",
        "reference": "Paris",
        "criteria": [
            {
                "type": "score_model",
                "model": "gpt-6-luna",
                "input": [
                    {
                        "role": "user",
                        "content": "How close is {{sample.output_text}} to {{item.reference}}?",
                    }
                ],
                "range": [0, 10],
                "pass_threshold": 7,
            }
        ],
    }

    type: Literal["score_model"]

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.pass_threshold is not None and not 0 <= self.scaled(self.pass_threshold) <= 1:
            raise PydanticCustomError("threshold_outside", "pass_threshold is outside of the range")
        return self

    def question(self, case: Case) -> Question[Finding]:
        low, high = self.range
        scale = NumberScale(low, high, integer=False)
        question = self.ask(
            case,
            "score_model.v4",
            scale,
            self._finding,
            messages=self.messages(),
            low=low,
            high=high,
        )
        return self.asked_with(question, case)

    def _finding(self, readings: Mapping[str, Reading[Any]]) -> Finding:
        reading = readings[""]
        return finding_of(reading, self.scaled(reading.value))


@criterion
class LabelModel(_ModelGrader):
    """OpenAI's label model: 1 where the judge's label is one of `passing_labels`, else 0."""

    scale: ClassVar[str] = "0 or 1"
    example: ClassVar = {
        "output": "You are wrong.",
        "criteria": [
            {
                "type": "label_model",
                "model": "gpt-6-luna",
                "input": [{"role": "user", "content": "The tone of {{sample.output_text}}?"}],
                "labels": ["polite", "rude"],
                "passing_labels": ["polite"],
            }
        ],
    }

    type: Literal["label_model"]
    labels: tuple[LabelText, ...] = Field(min_length=2, max_length=LABELS_MAX)
    passing_labels: tuple[LabelText, ...] = Field(min_length=1, max_length=LABELS_MAX)

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        distinct(labels)
        return labels

    @model_validator(mode="after")
    def _passing_offered(self) -> Self:
        if not set(self.passing_labels) <= set(self.labels):
            raise PydanticCustomError("label_unknown", "passing_labels must be among labels")
        return self

    def question(self, case: Case) -> Question[Finding]:
        question = self.ask(
            case,
            "label_model.v4",
            LabelScale(self.labels),
            self._finding,
            messages=self.messages(),
            labels=self.labels,
        )
        return self.asked_with(question, case)

    def _finding(self, readings: Mapping[str, Reading[Any]]) -> Finding:
        reading = readings[""]
        passed = reading.value in self.passing_labels
        return finding_of(reading, float(passed), label=reading.value)
