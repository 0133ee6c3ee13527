"""What a provider says is left, against what is given back for the same call."""

import pytest
from redis.asyncio import Redis

from assay.domain.completion import CallContext, Completion, Prompt, Usage
from assay.domain.models import Model
from assay.domain.policy import Quota
from assay.domain.supervision import Supervisor
from assay.resilience.quota.quotas import Quotas
from fakes.calls import call
from fakes.models import ask
from fakes.queues import limited_model
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess

MODEL = Model("openai/judge", "openai", "judge")
QUOTA = Quota(tokens_per_minute=600_000)


class Telling:
    """A model that uses little, and says how much its provider leaves."""

    async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
        return Completion(
            "ok", "stop", "openai", "judge", Usage(1, 1), quota_left={"tokens": 100.0}
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    process = RedisProcess(tmp_path_factory.mktemp("redis"), keep=False)
    yield process
    process.stop()


async def test_what_is_given_back_is_not_added_to_what_the_provider_leaves(server, elapsed_s):
    """The provider has counted the call already, by what it used."""
    redis, events = Redis.from_url(server.url), RecordedEvents()
    quotas = Quotas(redis, Supervisor(events), budget_s=1.0)
    limited = limited_model(Telling(), MODEL, QUOTA, quotas, events)
    await limited.complete(ask("x" * 20_000), call(5))
    await limited.aclose()
    status = await limited.status()
    # 10,000 come back in a second; the estimate was some thousands.
    assert status.left["tokens"] < 1_000 + 10_000 * elapsed_s()
    await quotas.aclose()
    await redis.aclose()
