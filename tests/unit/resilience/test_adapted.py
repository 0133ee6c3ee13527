"""What an API refuses is left out, once learned, and only where that helped."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisGone

from assay.domain.completion import CallContext, Completion, Prompt
from assay.domain.errors import RequestRejected
from assay.domain.events import ParameterRefused
from assay.domain.sampling import Parameter, Sampling
from assay.domain.supervision import Supervisor
from assay.resilience.adapted import Adapted
from assay.resilience.refusals import Refusals
from fakes.calls import call
from fakes.models import MODEL, answer, ask
from fakes.recorded_events import RecordedEvents


class Gone:
    """A Redis that does not answer."""

    async def hgetall(self, name: Any, /) -> Any:
        raise RedisGone

    async def hset(self, name: Any, /, *, mapping: Any) -> Any:
        raise RedisGone

    async def expire(self, name: Any, time: Any, /) -> Any:
        raise RedisGone


class Strict:
    """An API without some parameters, whose error names the first that it was sent."""

    def __init__(self, *without: Parameter) -> None:
        self._without = without
        self.prompts: list[Prompt] = []

    async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
        del context
        self.prompts.append(prompt)
        for parameter in self._without:
            if self._has(prompt, parameter):
                error = RequestRejected(f"{parameter} is not supported")
                error.parameter = parameter
                raise error
        return answer()

    def _has(self, prompt: Prompt, parameter: Parameter) -> bool:
        if parameter == "max_output_tokens":
            return parameter not in prompt.refused
        return getattr(prompt.sampling, parameter) is not None


class Subject:
    def __init__(self, api: Any) -> None:
        self.events = RecordedEvents()
        self.refusals = Refusals(Gone(), self.events, Supervisor(self.events))
        self.api = api
        self.chat = Adapted(api, MODEL, self.refusals)

    async def ask(self, **sampling: Any) -> Completion:
        return await self.chat.complete(ask(sampling=Sampling(**sampling)), call())


async def test_a_refused_parameter_costs_one_call() -> None:
    """The call is repeated without it at once; later calls leave it out from the start."""
    subject = Subject(Strict("temperature"))
    assert (await subject.ask(temperature=0.0)).text == "yes"
    await subject.ask(temperature=0.5)
    assert [p.sampling.temperature for p in subject.api.prompts] == [0.0, None, None]
    assert subject.chat.refused == {"temperature"}
    refused = ParameterRefused(MODEL.provider, MODEL.id, "temperature")
    assert subject.events.of(ParameterRefused) == [refused]


async def test_an_api_may_name_one_after_the_other() -> None:
    """Each is repeated once, and all are learned together."""
    subject = Subject(Strict("max_output_tokens", "temperature", "seed"))
    await subject.ask(temperature=0.0, seed=1)
    assert len(subject.api.prompts) == 4
    assert subject.chat.refused == {"max_output_tokens", "temperature", "seed"}


async def test_an_effort_is_refused_with_its_value() -> None:
    """One caller's odd effort leaves the efforts of all others alone."""
    subject = Subject(Strict("reasoning_effort"))
    await subject.ask(reasoning_effort="max")
    assert subject.chat.refused == {"reasoning_effort=max"}


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.0}])
async def test_what_did_not_help_is_not_learned(sampling: dict[str, Any]) -> None:
    """An error may quote the caller: what counts is a success without the parameter."""

    class Hopeless(Strict):
        def _has(self, prompt: Prompt, parameter: Parameter) -> bool:
            return True

    subject = Subject(Hopeless("temperature"))
    with pytest.raises(RequestRejected):
        await subject.ask(**sampling)
    assert len(subject.api.prompts) == 1 + len(sampling)
    assert subject.chat.refused == frozenset()
    assert not subject.events.of(ParameterRefused)
