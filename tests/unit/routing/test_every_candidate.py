"""However many candidates fail, and however they fail, the last one is reached."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from assay.domain.completion import EXTRA_ATTEMPTS, Completion
from assay.domain.errors import (
    UNSENT_OUTCOMES,
    DeadlineExceeded,
    ModelError,
    NoCandidate,
    RateLimited,
    ServerError,
    error_classes,
)
from assay.domain.models import Model
from assay.resilience.retried import Retried
from assay.resilience.retry_budget import RetryBudget
from assay.routing.candidates import Candidate
from assay.routing.router import Router
from assay.routing.strategies import ordered
from fakes.calls import call
from fakes.models import ScriptedModel, answer, ask
from fakes.policies import retry_budget_policy
from fakes.recorded_events import RecordedEvents

POLICY = retry_budget_policy(budget_per_s=100.0, backoff_s=0.0)
KINDS = [kind for kind in error_classes() if kind.next_candidate != "none"]
HEALTHY = answer("healthy")
CANDIDATES_MAX = 6


def failure(kind: type[ModelError], retry_after_s: float | None = None) -> ModelError:
    return kind([]) if kind is NoCandidate else kind("x", retry_after_s=retry_after_s)


async def asked(steps: Sequence[ModelError | Completion]) -> tuple[Completion, list[int]]:
    """What comes of candidates that each repeat their step, and the calls that each one had."""
    sink, budget = RecordedEvents(), RetryBudget(POLICY)
    models = [ScriptedModel(*(step if isinstance(step, list) else [step])) for step in steps]
    candidates = []
    for number, chat in enumerate(models):
        model = Model(f"fake/{number}", "fake", str(number))
        candidates.append(Candidate(model, Retried(chat, model, POLICY, budget, sink)))
    completion = await Router(candidates, ordered, sink).complete(ask(), call(20.0))
    return completion, [chat.calls for chat in models]


@pytest.mark.parametrize("count", range(2, CANDIDATES_MAX + 1))
@pytest.mark.parametrize("retry_after_s", [None, 0.0, 1.0])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_the_last_candidate_serves_where_all_before_it_fail(kind, retry_after_s, count):
    """Two calls to a candidate at the most, and two more in all than there are candidates."""
    steps = [failure(kind, retry_after_s) for _ in range(count - 1)]
    completion, calls = await asked([*steps, HEALTHY])
    assert completion.text == "healthy"
    assert max(calls) <= 2
    sent = [a for a in completion.attempts if a.outcome not in UNSENT_OUTCOMES]
    assert len(sent) <= count + EXTRA_ATTEMPTS


@pytest.mark.parametrize("seed", range(60))
async def test_the_last_candidate_serves_after_any_mixture(seed):
    """Whatever the order of the kinds of failure."""
    rng = random.Random(seed)
    kinds = rng.choices(KINDS, k=rng.randint(1, CANDIDATES_MAX - 1))
    steps = [failure(kind, rng.choice([None, 0.0, 1.0])) for kind in kinds]
    completion, _ = await asked([*steps, HEALTHY])
    assert completion.text == "healthy"


async def test_a_named_wait_is_not_waited_for_while_another_can_serve():
    """The first is asked once, and the second at once."""
    completion, calls = await asked([RateLimited("429", retry_after_s=1.0), HEALTHY])
    assert (completion.text, calls) == ("healthy", [1, 1])


async def test_the_third_candidate_is_reached_past_two_that_are_down():
    """A second call to each of the first two leaves one for the third."""
    completion, calls = await asked([ServerError("503"), ServerError("503"), HEALTHY])
    assert (completion.text, calls) == ("healthy", [2, 2, 1])


async def test_a_call_without_time_reaches_no_candidate():
    """The deadline of a candidate passes like any failure; that of the request ends the call."""
    completion, _ = await asked([DeadlineExceeded("late"), HEALTHY])
    assert completion.text == "healthy"


async def test_a_limited_candidate_is_waited_for_where_all_others_failed():
    """429 with Retry-After, then 503: the first serves once it can."""
    limited = [RateLimited("429", retry_after_s=0.01), HEALTHY]
    completion, calls = await asked([limited, ServerError("503")])
    assert (completion.text, calls) == ("healthy", [2, 2])


async def test_a_wait_beyond_the_deadline_is_not_waited_for():
    """Nobody waits in order to fail."""
    with pytest.raises(NoCandidate):
        await asked([[RateLimited("429", retry_after_s=60.0), HEALTHY], ServerError("503")])


async def test_each_candidate_behind_an_attempt_has_its_share_of_the_time():
    """Five silent candidates leave time for the sixth."""
    left = []

    class Silent(ScriptedModel):
        async def complete(self, prompt, context):
            left.append(context.deadline.remaining_s())
            raise ServerError("503")

    candidates = [Candidate(Model(f"fake/{n}", "fake", str(n)), Silent()) for n in range(6)]
    with pytest.raises(NoCandidate):
        await Router(candidates, ordered, RecordedEvents()).complete(ask(), call(20.0))
    assert left[0] < 8
    assert left == sorted(left)
