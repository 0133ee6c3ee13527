"""A criterion that a service of the operator's judges: the case is posted to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from assay.criteria.base import AsksModel, Finding, Judgement, Verbatim
from assay.criteria.registry import criterion
from assay.domain.completion import Completion
from assay.domain.errors import AnswerUnusable, NotApplicable
from assay.domain.evaluation import Case, JudgeSpec
from assay.domain.images import Image
from assay.domain.targets import URL_CHARS_MAX, origin, target_fault
from assay.verdicts.reader import PLAIN, Protocol

PARAMETERS_BYTES_MAX = 64 * 1024
SENT = ("input", "output", "reference", "context", "tools", "expected_tools", "fields")


class HttpVerdict(BaseModel):
    """What the service answers."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    score: float = Field(ge=0, le=1)
    passed: bool | None = None
    label: str | None = Field(default=None, max_length=200)
    explanation: str | None = None


class PostedCase(Verbatim[Finding]):
    """A case for a grader: the URL, and the JSON that is posted to it."""

    def read(self, completion: Completion[object], _: Protocol = PLAIN) -> Judgement[Finding]:
        """The verdict; raises `AnswerUnusable`."""
        try:
            verdict = HttpVerdict.model_validate_json(completion.text)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, fault["loc"])) or "the answer"
            raise AnswerUnusable(f"The grader's answer: {place}: {fault['msg']}.") from None
        finding = Finding(
            verdict.score,
            value=verdict.score,
            label=verdict.label,
            explanation=verdict.explanation or "",
            passed=verdict.passed,
        )
        return Judgement(finding)


def _callable(url: str) -> str:
    fault = target_fault(url, allow_private=True) or ("#" in url and "must have no fragment")
    if fault:
        raise PydanticCustomError("url", "{fault}", {"fault": fault})
    return url


def _small(parameters: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(orjson.dumps(parameters))
    except TypeError:
        raise PydanticCustomError("not_json", "must be JSON") from None
    if size > PARAMETERS_BYTES_MAX:
        raise PydanticCustomError(
            "too_large", "must have at most {most} bytes", {"most": PARAMETERS_BYTES_MAX}
        )
    return parameters


@criterion
class Http(AsksModel):
    """The verdict of a service of yours, to which the case is posted as JSON.

    Only hosts in the setting `http_criteria.hosts` are called. The body has the fields of the case
    (`input`, `output`, `reference`, `context`, `tools`, `expected_tools`, `fields`, as far as it
    has them) and `parameters`, and is signed as webhooks are. The answer is JSON of at most 64 KB:
    `score` from 0 to 1, and if you like `passed`, `label` and `explanation`. Any other answer, and
    none in time, leaves the criterion unscored. Redirects are not followed. Source: the Standard
    Webhooks specification, https://www.standardwebhooks.com.
    """

    family: ClassVar[str] = "program"
    default_threshold: ClassVar[float] = 0.5
    example: ClassVar = {
        "output": "Order 66 ships on Monday.",
        "criteria": [
            {
                "type": "http",
                "url": "https://graders.example/orders",
                "parameters": {"strict": True},
            }
        ],
    }

    type: Literal["http"]
    url: Annotated[str, AfterValidator(_callable)] = Field(
        min_length=1, max_length=URL_CHARS_MAX, description="Where the case is posted."
    )
    parameters: Annotated[dict[str, Any], AfterValidator(_small)] = Field(
        default={}, description="Sent with the case, for the service to read."
    )

    def judged_by(self, default: JudgeSpec) -> JudgeSpec:
        """The host alone; its calls cost nothing, and the cache is used if the request says so."""
        return JudgeSpec(
            name="http",
            kind="http",
            models=(origin(self.url),),
            fallback="none",
            cache=default.cache,
            injection="off",
        )

    def question(self, case: Case) -> PostedCase:
        given = {name: value for name in SENT if (value := getattr(case, name))}
        document = {"output": case.output, **given, "parameters": self.parameters}
        try:
            body = orjson.dumps(document, default=_plain, option=orjson.OPT_PASSTHROUGH_DATACLASS)
        except TypeError:
            raise NotApplicable("check_error", "The case cannot be sent as JSON.") from None
        return PostedCase(
            task="",
            content=[("url", self.url), ("body", body.decode())],
            scales={},
            finding=lambda _: Finding(0.0),
            prompt_version="http.v1",
            max_output_tokens=0,
        )


def _plain(value: Any) -> Any:
    """Images as OpenAI's content parts, and other values as JSON has them."""
    if isinstance(value, Image):
        url = value.data_uri if value.data else value.url
        return {"type": "image_url", "image_url": {"url": url}}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(type(value).__name__)
