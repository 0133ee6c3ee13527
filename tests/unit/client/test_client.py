"""The client, sync and async, against a real server that speaks the contract."""

import asyncio
import inspect
import os
import pickle
import socket
import threading
from dataclasses import replace
from typing import get_args

import pytest

from assay import Assay, AsyncAssay
from assay.client import RetryPolicy, wire
from assay.domain.problem_codes import ProblemCode
from assay.errors import (
    ERRORS,
    ConnectionFailed,
    InvalidRequest,
    ServiceError,
    ServiceUnavailable,
    TimedOut,
    TooManyRequests,
    Unauthorized,
    to_error,
)
from fakes.service import FakeService

QUICK = RetryPolicy(retry_for_s=5.0, backoff_s=0.01)
ONCE = replace(QUICK, attempts_max=1)
CASE = {"output": "x", "criteria": ["tone"]}


@pytest.fixture
def service():
    with FakeService(key="k-1") as running:
        yield running


class Blocking:
    """The sync client behind the methods of the async one, so that one test covers both."""

    def __init__(self, client):
        self._client = client

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await asyncio.to_thread(self._client.close)

    def __getattr__(self, name):
        called = getattr(self._client, name)
        if inspect.isgeneratorfunction(called) or name == "evaluate_many":
            return lambda *given, **named: _stream(called(*given, **named))

        async def call(*given, **named):
            return await asyncio.to_thread(called, *given, **named)

        return call


async def _stream(results):
    for one in await asyncio.to_thread(list, results):
        yield one


@pytest.fixture(params=["sync", "async"])
def client(request):
    """Makes a client of the service, sync or async."""

    def made(url, key="k-1", **options):
        options = {"retry_policy": QUICK, "timeout_s": 5.0, **options}
        if request.param == "async":
            return AsyncAssay(url, key, **options)
        return Blocking(Assay(url, key, **options))

    return made


async def test_an_evaluation_goes_out_and_comes_back_as_the_contract_says(service, client):
    """The case, criteria and options are one body; the answer comes back as it is."""
    async with client(service.url + "/") as asked:
        result = await asked.evaluate(
            input="pass", output="Grüße 🌍", criteria=["Tone."], judge="strict", timeout_ms=500
        )
    assert (result.passed, result.score, result.unscored) == (True, 1.0, {})
    assert result["tone"].passed
    assert result.raw["metadata"] == {"echo": "Grüße 🌍"}
    (body,) = service.bodies
    assert body == {
        "input": "pass",
        "output": "Grüße 🌍",
        "criteria": [{"type": "rubric", "name": "tone", "rubric": "Tone."}],
        "judge": "strict",
        "timeout_ms": 500,
    }


async def test_a_problem_becomes_a_typed_error(service, client):
    """Code, status and the faults by field arrive in the error and in its words."""
    async with client(service.url) as asked:
        with pytest.raises(InvalidRequest, match="/output: Field required") as caught:
            await asked.request("POST", "/v1/evaluations", {"input": "pass", "criteria": ["tone"]})
    assert (caught.value.code, caught.value.status) == ("invalid_request", 422)
    assert caught.value.errors == ({"pointer": "/output", "message": "Field required"},)


async def test_a_busy_service_is_asked_again_under_the_same_idempotency_key(service, client):
    """A 503 is retried after its Retry-After, and the repeat cannot be paid for twice."""
    async with client(service.url) as asked:
        result = await asked.evaluate(input="busy", **CASE)
        await asked.evaluate(input="pass", **CASE)
    assert result.score == 0.5
    first, again, other = service.idempotency_keys
    assert first == again != other


async def test_what_must_not_be_stored_has_no_idempotency_key(service, client):
    """With `store=False` there is no key, and the call is not repeated after a lost connection."""
    async with client(service.url) as asked:
        with pytest.raises(ConnectionFailed):
            await asked.evaluate(input="die", store=False, **CASE)
    assert service.idempotency_keys == [None]


async def test_a_wait_beyond_the_bound_is_not_begun(service, client):
    """Where the service asks for more patience than there is, the error comes at once."""
    service.retry_after = "3600"
    async with client(service.url) as asked:
        with pytest.raises(ServiceUnavailable) as caught:
            await asked.evaluate(input="busy", **CASE)
    assert caught.value.retry_after_s == 3600
    assert service.tries["busy"] == 1


async def test_retries_are_bounded(service, client):
    """A service that stays busy is left after the attempts that were allowed."""
    async with client(service.url, retry_policy=replace(QUICK, attempts_max=3)) as asked:
        with pytest.raises(TooManyRequests, match="quota_exhausted"):
            await asked.evaluate(input="refuse:429:quota_exhausted", **CASE)
    assert len(service.bodies) == 3


@pytest.mark.parametrize("order", ["refuse:422:invalid_request", "refuse:504:deadline_exceeded"])
async def test_what_a_repeat_cannot_mend_is_not_repeated(service, client, order):
    """Only 429, 503 and lost connections are tried again."""
    async with client(service.url) as asked:
        with pytest.raises(ServiceError):
            await asked.evaluate(input=order, **CASE)
    assert len(service.bodies) == 1


async def test_a_wrong_key_is_refused(service, client):
    """The key travels as a bearer token, and a wrong one is not retried."""
    async with client(service.url, "k-2") as asked:
        with pytest.raises(Unauthorized):
            await asked.evaluate(input="pass", **CASE)


async def test_no_server_is_unreachable(client):
    """A refused connection has status 0 and a code of its own."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    async with client(url, retry_policy=replace(QUICK, attempts_max=2)) as asked:
        with pytest.raises(ConnectionFailed) as caught:
            await asked.evaluate(**CASE)
    assert (caught.value.code, caught.value.status) == ("unreachable", 0)


@pytest.mark.parametrize(("order", "error"), [("die", ConnectionFailed), ("hang", TimedOut)])
async def test_a_lost_or_missing_answer_has_its_error(service, client, order, error):
    """A connection that is cut, and one that stays silent, end in bounded time."""
    async with client(service.url, retry_policy=ONCE, timeout_s=0.3) as asked:
        with pytest.raises(error):
            await asked.evaluate(input=order, **CASE)


async def test_a_redirect_is_not_followed(service, client):
    """The key and the case do not go to where a response points."""
    async with client(service.url) as asked:
        with pytest.raises(ServiceError, match="http_307"):
            await asked.evaluate(input="redirect", **CASE)
    assert len(service.bodies) == 1


async def test_many_rows_come_back_in_order_with_their_errors(service, client):
    """A failed row is a result with the error, and no more rows than allowed are at work."""
    orders = ["slow", "pass", "refuse:422:invalid_request", "fail", "unscored", "slow"]
    rows = [{"id": n, "input": order, "output": "x"} for n, order in enumerate(orders)]
    rows += [{"id": 6, "input": "pass", "output": "\ud800"}, "no mapping"]
    async with client(service.url) as asked:
        results = [one async for one in asked.evaluate_many(iter(rows), "Tone.", concurrency=2)]
    assert [one.item_id for one in results] == [*map(str, range(7)), None]
    assert [one.passed for one in results] == [True, True, None, False, None, True, None, None]
    faulty = [n for n, one in enumerate(results) if isinstance(one.error, InvalidRequest)]
    assert faulty == [2, 6, 7]
    assert results[4].unscored == {"tone": "judge_parse_error"}
    assert service.at_work_max <= 2


async def test_a_stream_of_rows_that_is_left_stops_the_work(service):
    """Who takes the first result only does not wait for the others, and leaves no task."""
    rows = ({"input": "pass", "output": "x"} for _ in range(1_000))
    async with AsyncAssay(service.url, "k-1") as asked:
        results = asked.evaluate_many(rows, "Tone.", concurrency=2)
        async for _ in results:
            break
        await results.aclose()
    assert len(service.bodies) < 100


def test_a_stream_of_rows_that_is_left_stops_the_threads(service):
    """The same in threads."""
    rows = ({"input": "pass", "output": "x"} for _ in range(1_000))
    with Assay(service.url, "k-1") as asked:
        results = asked.evaluate_many(rows, "Tone.", concurrency=2)
        next(results)
        results.close()
    assert len(service.bodies) < 100
    assert not [one for one in threading.enumerate() if one.name.startswith("assay")]


def test_the_environment_names_service_and_key(service, monkeypatch):
    """Without arguments, `ASSAY_URL` and `ASSAY_API_KEY` are used."""
    monkeypatch.setenv("ASSAY_URL", service.url)
    monkeypatch.setenv("ASSAY_API_KEY", " k-1\n")
    with Assay() as asked:
        assert asked.evaluate(input="pass", **CASE).passed


def test_a_proxy_is_not_on_the_way_to_this_machine(service, monkeypatch):
    """A service on a loopback address is called directly, whatever the environment says."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Assay(service.url, "k-1") as asked:
        assert asked.evaluate(input="pass", **CASE).passed


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host", "http://", "/v1"])
def test_a_wrong_address_is_refused(url):
    """The client says at once what an address looks like."""
    with pytest.raises(ValueError, match="must start with http"):
        Assay(url)


@pytest.mark.parametrize("url", ["http://host:port", "http://[::1", "http://a\nb", "http://h?a=b"])
def test_an_address_that_cannot_be_called_is_refused(url):
    """At once, and not at the first call with an error of the library for HTTP."""
    with pytest.raises(ValueError, match="the URL of the service"):
        Assay(url)
    assert Assay(" http://host/\n").url == "http://host"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_has_connections_of_its_own(service):
    """On those of its parent, it could read the verdict of another case."""
    with Assay(service.url, "k-1") as asked:
        asked.evaluate(input="pass", **CASE)
        of_parent = asked._http
        if (pid := os.fork()) == 0:
            passed = False
            try:
                passed = asked.evaluate(input="pass", **CASE).passed is True
            finally:
                os._exit(0 if passed and asked._http is not of_parent else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert asked.evaluate(input="pass", **CASE).passed
        assert asked._http is of_parent


def test_a_key_never_shows_itself(monkeypatch):
    """Neither the client nor the error about a bad key holds it."""
    with Assay("http://user:s3cret@host", "s3cret-key") as client:
        assert "s3cret" not in f"{client!r} {client} {client._http.headers!r}"
    for bad in ("s3cret\r\nX-Admin: 1", "s3crét"):
        with pytest.raises(ValueError, match="characters") as caught:
            Assay("http://host", bad)
        assert "s3cr" not in str(caught.value)


def test_each_code_of_a_problem_has_its_error():
    """No problem of the API is without a class, and an unknown one is told by its status."""
    assert set(get_args(ProblemCode)) <= set(ERRORS)
    assert type(to_error("new_code", "…", 404)) is ERRORS["not_found"]
    assert type(to_error("new_code", "…", 418)) is ServiceError


def test_a_fault_of_the_whole_request_has_no_pointer():
    """Its message stands alone, without a colon before it."""
    error = to_error("invalid_request", "Wrong.", 400, ({"pointer": "", "message": "line 1: bad"},))
    assert str(error) == "invalid_request: Wrong. (line 1: bad)"


def test_an_error_survives_pickling():
    """It comes back from another process as it was."""
    error = to_error("overloaded", "busy", 503, ({"pointer": "/a", "message": "b"},), 2.0)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    assert (type(copy), str(copy), copy.retry_after_s) == (ServiceUnavailable, str(error), 2.0)


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
    error = wire.error_in(502, body, header)
    assert (error.code, error.retry_after_s) == (code, wait_s)
