"""Frozen facts about what happened; telemetry subscribes to them through `EventSink`.

No event carries a caller's text: identifiers, codes, counts and durations only. Callers choose the
names of criteria, which no log line shows. The exception is `CaseJudged`, whose results explain
themselves: subscribers leave the explanations out unless an operator asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from assay.domain.audit import Action
from assay.domain.completion import Caller, Usage
from assay.domain.evaluation import Evaluation
from assay.domain.sampling import DEFAULT_SAMPLING, Sampling
from assay.domain.trace_context import Subject

ShedReason = Literal["draining", "too_many", "too_large_together"]
HedgeOutcome = Literal["won", "lost", "failed"]


@dataclass(frozen=True, slots=True)
class RequestFinished:
    """An HTTP request was answered (or its caller went away: status 499)."""

    caller: Caller
    method: str
    route: str
    status: int
    seconds: float
    body_bytes: int
    key_name: str = ""


@dataclass(frozen=True, slots=True)
class RequestShed:
    """A request was rejected on arrival: `draining`, `too_many` or `too_large_together`."""

    reason: ShedReason


@dataclass(frozen=True, slots=True)
class ActionTaken:
    """Somebody did, or was refused, what cannot be undone or concerns others."""

    action: Action


@dataclass(frozen=True, slots=True)
class KeysLoaded:
    """The file of API keys was read: tenant, role, name and end of each key that it allows.

    A part of a key's digest stands for the key.
    """

    keys: Mapping[str, tuple[str, str, str, str]]


@dataclass(frozen=True, slots=True)
class KeysFileFaulty:
    """The file of API keys was loaded with lines that allow nothing, or is gone."""

    faults: int


@dataclass(frozen=True, slots=True)
class LoopLagged:
    """How late the event loop resumed a task that had slept."""

    seconds: float


@dataclass(frozen=True, slots=True)
class LoopStalled:
    """The event loop stood still for seconds, and turns again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CriterionFinished:
    """One criterion of one case was scored, left unscored, or skipped.

    `away` says that a check ran in a worker process.
    """

    caller: Caller
    type: str
    status: str
    reason: str | None
    seconds: float
    away: bool = False


@dataclass(frozen=True, slots=True)
class CaseJudged:
    """A case has its results, which stand: none of them is tried again."""

    caller: Caller
    evaluation: Evaluation = field(repr=False)
    subject: Subject | None = None


@dataclass(frozen=True, slots=True)
class CascadeFinished:
    """A cascade with thresholds judged a criterion; `tier` was sure enough, or none was."""

    tier: int | None


@dataclass(frozen=True, slots=True)
class InjectionSuspected:
    """A case showed a sign of prompt injection; `policy` is any `InjectionPolicy` but `off`."""

    caller: Caller
    sign: str
    policy: str


@dataclass(frozen=True, slots=True)
class ComparisonFinished:
    """Two outputs were compared: `consistent`, `flipped` with their order, or `unscored`."""

    caller: Caller
    model: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class AttemptFinished:
    """One upstream call ended; `outcome` is `ok` or that of a `ModelError`.

    `error` is the error's class, and `message` what it says without quoting anything. `criteria`
    are those that share the call; see `CallContext`. `served_by` is the model by its provider's own
    name, and `sampling` how it was asked before what it cannot do was left out.
    """

    caller: Caller
    provider: str
    model: str
    outcome: str
    seconds: float
    first_byte_seconds: float | None
    usage: Usage
    cost_usd: float
    host: str = ""
    error: str = ""
    message: str = ""
    criteria: tuple[str, ...] = ()
    finish: str = ""
    served_by: str = ""
    sampling: Sampling = DEFAULT_SAMPLING
    structured: bool = False
    timed: bool = True
    """Whether `seconds` says how long the model took."""


@dataclass(frozen=True, slots=True)
class FallbackTaken:
    """The router moved on to the next candidate."""

    caller: Caller
    from_model: str
    to_model: str
    outcome: str


@dataclass(frozen=True, slots=True)
class HedgeFinished:
    """A slow call to the model was hedged with another call, which `won`, `lost` or `failed`."""

    caller: Caller
    model: str
    outcome: HedgeOutcome


@dataclass(frozen=True, slots=True)
class QuotaWaited:
    """A call got its sending time; `bucket` is what it waited for, empty where it did not wait."""

    caller: Caller
    model: str
    seconds: float
    bucket: str


@dataclass(frozen=True, slots=True)
class BreakerChanged:
    """A model's circuit breaker went from one state to another, as this process sees it."""

    model: str
    from_state: str
    to_state: str
    reason: str


@dataclass(frozen=True, slots=True)
class KeyQuarantined:
    """A provider rejected its key: the model is not called again for `seconds`."""

    provider: str
    model: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ParameterRefused:
    """A model's API was found to refuse a parameter, which is left out from now on."""

    provider: str
    model: str
    parameter: str


@dataclass(frozen=True, slots=True)
class WaitFinished:
    """A call waited for its turn: reason `local_slot`, `provider_quota` or `breaker`."""

    caller: Caller
    model: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class QueueRefused:
    """A call was not queued (`full_count`, `full_bytes`, `deadline`) or not kept (`pushed_out`)."""

    caller: Caller
    model: str
    waiting_for: str
    reason: str


@dataclass(frozen=True, slots=True)
class StoreDegraded:
    """Redis stopped (or resumed) taking writes; `fault` is what it or the client said."""

    available: bool
    fault: str = ""


@dataclass(frozen=True, slots=True)
class UsageLost:
    """So many calls were not counted in the tenants' usage, because Redis was unavailable."""

    calls: int


@dataclass(frozen=True, slots=True)
class ControlSetsRead:
    """The control sets of all tenants: whether the judge drifts, by the names of evaluators."""

    alarms: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class JudgeDrifted:
    """An evaluator disagrees with its control set more often than was certified.

    `since_batch` is the run in which that may have begun.
    """

    name: str
    evaluator_id: str
    batch_id: str
    since_batch: str


@dataclass(frozen=True, slots=True)
class RecordsDegraded:
    """The database of records stopped (or resumed) answering; `fault` is what it or the driver
    said."""

    available: bool
    fault: str = ""


@dataclass(frozen=True, slots=True)
class BatchRowFinished:
    """A row of a batch has its result: `scored`, `partial`, `unscored` or `failed`."""

    caller: Caller
    batch_id: str
    status: str
    seconds: float


@dataclass(frozen=True, slots=True)
class BatchRowReturned:
    """A row went back to the queue: `retry`, `shutdown`, or `taken_over` from a dead worker."""

    batch_id: str
    reason: str


JOB_STATES = ("submitted", "found", "ended", "refused", "lost")
"""Taken by the provider; found there after its answer was lost; ended; refused; gone."""


@dataclass(frozen=True, slots=True)
class ProviderJobChanged:
    """What became of a job at a provider's batch API."""

    batch_id: str
    model: str
    state: str


@dataclass(frozen=True, slots=True)
class BatchEnded:
    """A batch ended."""

    batch_id: str
    status: str


@dataclass(frozen=True, slots=True)
class SpansReceived:
    """Spans of an application came in: how many of each `Outcome`."""

    tenant: str
    outcomes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LiveScored:
    """A criterion judged live traffic for a rule; without a score for the `reason`."""

    rule: str
    criterion: str
    score: float | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class RulePaused:
    """A rule judges nothing for now: a limit that is spent, or what is wrong with it."""

    rule: str
    rule_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class WebhookAttempted:
    """A webhook was tried: `delivered`, `refused` (the target is not allowed) or `failed`."""

    batch_id: str
    outcome: str
    tries: int


@dataclass(frozen=True, slots=True)
class InternalFault:
    """An unexpected error, turned into a result or a restart instead of a crash.

    `where` is a constant that names the place; `trace` holds code only, no values.
    """

    where: str
    error_type: str
    trace: str
    request_id: str


Event = object
"""Any of the frozen dataclasses above."""
