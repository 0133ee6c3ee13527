"""Judges and models that answer by script, at the `ChatModel` port."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from assay.domain.completion import (
    Attempt,
    CallContext,
    Completion,
    Finish,
    Prompt,
    TokenLogprob,
    Usage,
)
from assay.domain.errors import ModelError, RequestError
from assay.domain.evaluation import JudgeSpec
from assay.domain.models import Model
from assay.domain.ports import ChatModel, Estimator, PanelMember
from assay.domain.vectors import Vector, to_text

ESTIMATOR = Estimator(Model("fake/judge", "fake", "judge"))
USAGE = Usage(input_tokens=100, output_tokens=10)
COST_USD = 0.001
PASS = '{"reasoning": "good", "verdict": "pass"}'
FAIL = '{"reasoning": "bad", "verdict": "fail"}'

Answer = str | ModelError | Exception | Callable[[Prompt], str]


def completion_of(text: str, finish: Finish = "stop", model: str = "fake/judge") -> Completion:
    """A completion as a provider returns it, with usage and cost."""
    attempt = Attempt("fake", model, "ok", 1.0, USAGE, COST_USD)
    return Completion(
        text, finish, "fake", model, usage=USAGE, cost_usd=COST_USD, attempts=(attempt,)
    )


class ScriptedModel:
    """Gives its answers in turn, the last one for ever; an exception among them is raised.

    It records every prompt, and reads its own answers as the retry layer does: what cannot be
    read raises with the attempt it cost.
    """

    def __init__(self, *answers: Answer, finish: Finish = "stop", delay_s: float = 0.0) -> None:
        self._answers = answers or (PASS,)
        self._finish = finish
        self._delay_s = delay_s
        self.prompts: list[Prompt] = []
        self.contexts: list[CallContext] = []
        self.running = 0
        self.running_max = 0
        self.cancelled = 0

    async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
        self.prompts.append(prompt)
        self.contexts.append(context)
        answer = self._answers[min(len(self.prompts), len(self._answers)) - 1]
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        try:
            await asyncio.sleep(self._delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if isinstance(answer, Exception):
            raise answer
        text = answer if isinstance(answer, str) else answer(prompt)
        return read_by(prompt, completion_of(text, self._finish))


def embedding(*vectors: Vector) -> str:
    """The answer of an embedding model."""
    return " ".join(map(to_text, vectors))


class WeighingModel:
    """Gives one answer in three tokens: the last place of `token`, and what is around it.

    `top` are the probabilities of the alternatives at that place.
    """

    def __init__(self, text: str, token: str, top: Mapping[str, float]) -> None:
        self._text = text
        before, _, after = text.rpartition(token)
        weighed = tuple((name, math.log(share)) for name, share in top.items())
        self._logprobs = (
            TokenLogprob(before, 0.0),
            TokenLogprob(token, math.log(top[token]), weighed),
            TokenLogprob(after, 0.0),
        )
        self.prompts: list[Prompt] = []

    async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
        self.prompts.append(prompt)
        logprobs = self._logprobs if prompt.sampling.top_logprobs else ()
        return read_by(prompt, replace(completion_of(self._text), logprobs=logprobs))


def read_by(prompt: Prompt, completion: Completion) -> Completion:
    """The completion with its reading; a failed reading carries the attempts it cost."""
    try:
        return replace(completion, reading=prompt.read(completion))
    except ModelError as error:
        error.attempts = tuple(
            replace(attempt, outcome=error.outcome) for attempt in completion.attempts
        )
        raise


class FakeJudges:
    """Finds models by id, or the default for a judge's name; unknown ids are request errors."""

    def __init__(self, default: ChatModel | None = None, **models: ChatModel) -> None:
        self._default = default or ScriptedModel()
        self._models = models
        self.specs: list[JudgeSpec] = []
        self.window_tokens = math.inf
        self.windows: dict[str, float] = {}
        """Windows of models by id, where they differ from that of all others."""
        self.embedder: ChatModel | None = None
        self.grader: ChatModel | None = None

    def panel(self, spec: JudgeSpec) -> list[PanelMember]:
        self.specs.append(spec)
        members = [spec]
        if spec.strategy == "panel":
            members = [replace(spec, models=(name,), strategy="ordered") for name in spec.models]
        return [
            PanelMember(each, self._model(each), self._window(each), ESTIMATOR) for each in members
        ]

    def _window(self, spec: JudgeSpec) -> float:
        return self.windows.get(spec.requested, self.window_tokens)

    def _model(self, spec: JudgeSpec) -> ChatModel:
        if spec.kind == "embedding" and self.embedder is not None:
            return self.embedder
        if spec.kind == "http" and self.grader is not None:
            return self.grader
        for model in spec.models:
            if model not in self._models:
                raise RequestError("unknown_model", f"no model is called {model!r}")
            return self._models[model]
        if spec.name != "default":
            raise RequestError("unknown_model", f"no judge is called {spec.name!r}")
        return self._default
