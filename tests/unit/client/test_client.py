"""The HTTP client against a real server that speaks the contract."""

import socket
import time
from dataclasses import replace

import pytest

from assay.client import ApiKey, Client, RetryPolicy, ServiceError
from assay.client.errors import service_error
from fakes.service import FakeService

QUICK = RetryPolicy(retry_for_s=5.0, backoff_s=0.01, response_timeout_s=5.0)
ONCE = replace(QUICK, attempts_max=1)


@pytest.fixture
def service():
    with FakeService(key="k-1") as running:
        yield running


def client(service, retry_policy=QUICK, key="k-1"):
    return Client(service.url + "/", ApiKey(key) if key else None, retry_policy=retry_policy)


async def test_an_evaluation_goes_out_and_comes_back_as_the_contract_says(service):
    """The case, criteria and options are one body; the answer comes back as it is."""
    async with client(service) as asked:
        answer = await asked.evaluate(
            {"input": "pass", "output": "Grüße 🌍"}, ["tone"], "strict", timeout_ms=500
        )
    assert answer["score"] == 1.0
    assert answer["metadata"] == {"echo": "Grüße 🌍"}
    (body,) = service.bodies
    assert body == {
        "input": "pass",
        "output": "Grüße 🌍",
        "criteria": ["tone"],
        "judge": "strict",
        "timeout_ms": 500,
    }


async def test_a_problem_becomes_a_typed_error(service):
    """Code, status and the faults by field arrive in the error."""
    async with client(service) as asked:
        with pytest.raises(ServiceError) as caught:
            await asked.evaluate({"input": "pass"}, ["tone"])
    assert (caught.value.code, caught.value.status) == ("invalid_request", 422)
    assert caught.value.errors == ({"pointer": "/output", "message": "Field required"},)


async def test_a_busy_service_is_asked_again_under_the_same_idempotency_key(service):
    """A 503 is retried after its Retry-After, and the repeat cannot be paid for twice."""
    async with client(service) as asked:
        answer = await asked.evaluate({"input": "busy", "output": "x"}, ["tone"])
        await asked.evaluate({"input": "pass", "output": "x"}, ["tone"])
    assert answer["score"] == 0.5
    first, again, other = service.idempotency_keys
    assert first == again != other


async def test_a_wait_beyond_the_bound_is_not_begun(service):
    """Where the service asks for more patience than there is, the error comes at once."""
    service.retry_after = "3600"
    started_s = time.monotonic()
    async with client(service) as asked:
        with pytest.raises(ServiceError) as caught:
            await asked.evaluate({"input": "busy", "output": "x"}, ["tone"])
    assert caught.value.retry_after_s == 3600
    assert time.monotonic() - started_s < 3600
    assert service.tries["busy"] == 1


async def test_retries_are_bounded(service):
    """A service that stays busy is left after the attempts that were allowed."""
    async with client(service, replace(QUICK, attempts_max=3)) as asked:
        with pytest.raises(ServiceError, match="quota_exhausted"):
            await asked.evaluate({"input": "refuse:429:quota_exhausted", "output": "x"}, ["t"])
    assert len(service.bodies) == 3


@pytest.mark.parametrize("order", ["refuse:422:invalid_request", "refuse:504:deadline_exceeded"])
async def test_what_a_repeat_cannot_mend_is_not_repeated(service, order):
    """Only 429, 503 and lost connections are tried again."""
    async with client(service) as asked:
        with pytest.raises(ServiceError):
            await asked.evaluate({"input": order, "output": "x"}, ["tone"])
    assert len(service.bodies) == 1


async def test_a_wrong_key_is_refused(service):
    """The key travels as a bearer token, and a wrong one is not retried."""
    async with client(service, key="k-2") as asked:
        with pytest.raises(ServiceError) as caught:
            await asked.evaluate({"input": "pass", "output": "x"}, ["tone"])
    assert caught.value.code == "unauthenticated"


async def test_no_server_is_unreachable():
    """A refused connection has status 0 and a code of its own."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    async with Client(url, retry_policy=replace(QUICK, attempts_max=2)) as asked:
        with pytest.raises(ServiceError) as caught:
            await asked.evaluate({"output": "x"}, ["tone"])
    assert (caught.value.code, caught.value.status) == ("unreachable", 0)


@pytest.mark.parametrize("order", ["die", "hang"])
async def test_a_lost_or_missing_answer_has_its_code(service, order):
    """A connection that is cut, and one that stays silent, end in bounded time."""
    async with client(service, replace(ONCE, response_timeout_s=0.3)) as asked:
        with pytest.raises(ServiceError, match="no_answer"):
            await asked.evaluate({"input": order, "output": "x"}, ["tone"])


def test_a_key_never_shows_itself(tmp_path):
    """Neither repr nor str of a key, nor of the error about a bad one, holds it."""
    file = tmp_path / "key"
    file.write_text("s3cret-key\n")
    key = ApiKey.from_file(file)
    assert key.secret == "s3cret-key"
    assert "s3cret" not in f"{key!r} {key}"
    with pytest.raises(ValueError, match="characters") as caught:
        ApiKey("s3cret\r\nX-Admin: 1")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "header", "code", "wait_s"),
    [
        (b"<html>Bad Gateway</html>", None, "http_502", None),
        (b"[]", "7", "http_502", 7.0),
        (b'{"code": "overloaded", "retry_after_s": 0.5}', "1", "overloaded", 0.5),
        (b'{"code": "overloaded", "retry_after_s": "x", "errors": "x"}', None, "overloaded", None),
        (b"{}", "Wed, 21 Oct 2015 07:28:00 GMT", "http_502", 0.0),
        (b"{}", "soon", "http_502", None),
        (b"{}", "²", "http_502", None),
    ],
)
def test_any_answer_can_be_read_as_an_error(body, header, code, wait_s):
    """A gateway's page, a strange document and every form of Retry-After are understood."""
    error = service_error(502, body, header)
    assert (error.code, error.retry_after_s) == (code, wait_s)
