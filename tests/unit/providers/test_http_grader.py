"""The client of HTTP graders: it signs what it sends, and calls no private address by name."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks.webhooks import Webhook

from assay.criteria import parse_criteria
from assay.criteria.judge import judge_spec
from assay.domain.errors import KeyRejected, NameUnresolved, PromptUnsendable, RequestRejected
from assay.domain.evaluation import Case
from assay.domain.models import Model
from assay.domain.signing import MESSAGE_ID
from assay.judging.prompt import to_prompt
from assay.providers import HttpGrader, ProviderClient, ProviderConfig, PublicResolver, Signature
from assay.providers.credentials import OutgoingRequest
from fakes.calls import call
from fakes.graders import SECRET, running_grader

MODEL = Model("https://grader.example:443", "http", "grader.example", kind="http")


class ToLoopback(AbstractResolver):
    """A name server that answers with an address of our own."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None: ...


def config(url: str, private: frozenset[str] = frozenset()) -> ProviderConfig:
    return ProviderConfig(
        provider="grader.example",
        base_url=url,
        stream=False,
        credentials=Signature(lambda: SECRET),
        resolver=PublicResolver(ToLoopback(), private),
    )


async def ask(config: ProviderConfig, output: str = "x", path: str = "good") -> None:
    [criterion] = parse_criteria([{"type": "http", "url": f"{config.base_url}/{path}"}])
    question = criterion.question(Case(output))  # type: ignore[attr-defined]
    client = ProviderClient(config)
    try:
        prompt = to_prompt(question, judge_spec(None), call())
        await HttpGrader(MODEL, client).complete(prompt, call())
    finally:
        await client.aclose()


async def test_a_name_that_resolves_to_a_private_address_is_not_called() -> None:
    """Unless the operator gave its port, which says that it may be in the own network."""
    async with running_grader() as grader:
        url = f"http://grader.example:{grader.port}"
        with pytest.raises(NameUnresolved, match="resolves to a private address"):
            await ask(config(url))
        assert not grader.sent
        await ask(config(url, frozenset({"grader.example"})))
        assert grader.verified()["output"] == "x"


@pytest.mark.parametrize("path", ["401", "404"])
async def test_a_refusal_of_one_url_says_nothing_of_the_host(path: str) -> None:
    """It would close the host to the criteria of all others, as a rejected key does."""
    async with running_grader() as grader:
        url = f"http://grader.example:{grader.port}"
        with pytest.raises(RequestRejected, match=f"answered {path}"):
            await ask(config(url, frozenset({"grader.example"})), path=path)


async def test_the_signature_is_that_of_webhooks_over_id_time_and_body() -> None:
    """A receiver verifies it with any library of the specification."""
    body = json.dumps({"output": "ж"}, ensure_ascii=False).encode()
    request = OutgoingRequest(
        "https://grader.example/", {MESSAGE_ID: "msg_1"}, [body[:3], body[3:]]
    )
    headers: Mapping[str, str] = await Signature(lambda: SECRET).headers(request)
    assert Webhook(SECRET).verify(body, dict(headers)) == {"output": "ж"}
    for unusable in (None, "", "whsec_short", "key"):
        with pytest.raises(KeyRejected):
            await Signature(lambda value=unusable: value).headers(request)


async def test_a_text_that_is_not_unicode_is_not_sent() -> None:
    """JSON cannot hold it."""
    [criterion] = parse_criteria([{"type": "http", "url": "https://grader.example/"}])
    with pytest.raises(Exception, match="cannot be sent as JSON") as caught:
        criterion.question(Case("\ud800"))  # type: ignore[attr-defined]
    assert not isinstance(caught.value, PromptUnsendable)
