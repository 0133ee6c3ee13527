"""The resources over real HTTP: responses to good requests, and problems."""

import json
import re

import aiohttp
import pytest
from fastapi import APIRouter

from assay.api.models import ModelListResponse
from assay.api.responses import EvaluationResponse
from assay.criteria import CRITERIA
from assay.domain.completion import Caller
from assay.domain.errors import DomainError, RequestError
from assay.domain.evaluation import Case, CriterionResult, JudgeSpec
from assay.domain.events import InternalFault, RequestFinished
from assay.http.keys_file import KeysFile, new_key
from fakes import documented
from fakes.http_api import evaluation, running_api, unscored
from fakes.limits import limits_with
from fakes.recorded_events import RecordedEvents

GOOD = {"input": "2+2?", "output": "4", "criteria": "Is it right?"}


@pytest.mark.parametrize("path", ["/v1/evaluations", "/evaluate"])
async def test_an_evaluation_answers_in_the_documented_shape(path):
    """Every documented field is there, and no other."""
    async with running_api() as api:
        status, headers, body = await api.post(GOOD | {"metadata": {"a": [1]}}, path=path)
        assert status == 200
        assert headers["content-type"] == "application/json"
        assert documented.faults(EvaluationResponse, body) == []
        assert body["metadata"] == {"a": [1]}
        [asked] = api.evaluator.calls
        assert asked["case"] == Case(output="4", input="2+2?")
        assert asked["judge"] == JudgeSpec()
        assert asked["caller"] == Caller("default", headers["x-request-id"])
        assert 19 < asked["deadline"].remaining_s() <= 20


async def test_the_default_timeout_is_configured():
    """A request without `timeout_ms` gets the server's default, within the longest timeout."""
    for default_ms, expected_s in ((5_000, 5), (60_000, 30)):
        async with running_api(limits=limits_with(default_timeout_ms=default_ms)) as api:
            await api.post(GOOD)
            [asked] = api.evaluator.calls
            assert expected_s - 1 < asked["deadline"].remaining_s() <= expected_s


@pytest.mark.parametrize(
    ("sent", "case"),
    [
        ({"reference": "a"}, {"reference": ("a",)}),
        ({"expected": ["a", "b"]}, {"reference": ("a", "b")}),
        ({"expected_output": "a"}, {"reference": ("a",)}),
        ({"ground_truth": "a"}, {"reference": ("a",)}),
        ({"ideal": "a"}, {"reference": ("a",)}),
        ({"target": ["a", "b"]}, {"reference": ("a", "b")}),
        ({"reference": None}, {"reference": ()}),
        ({"context": None, "tools": None, "expected_tools": None, "metadata": None}, {}),
        ({"output": ""}, {"output": ""}),
        ({"retrieval_context": ["a"]}, {"context": ("a",)}),
        ({"retrieved_contexts": ["a"]}, {"context": ("a",)}),
        ({"tools": [{"name": "t"}]}, {"tools": ({"name": "t"},)}),
    ],
)
async def test_the_fields_other_names_are_understood(sent, case):
    """Requests from other tools work as they are."""
    async with running_api() as api:
        assert (await api.post(GOOD | sent))[0] == 200
        expected = {"output": "4", "input": "2+2?"} | case
        assert api.evaluator.calls[0]["case"] == Case(**expected)
        assert api.evaluator.calls[0]["metadata"] == {}


async def test_the_input_has_another_name_too():
    """`user_input` is the input."""
    async with running_api() as api:
        assert (await api.post({"user_input": "2+2?", "output": "4", "criteria": "c"}))[0] == 200
        assert api.evaluator.calls[0]["case"] == Case(output="4", input="2+2?")


@pytest.mark.parametrize("name", ["actual_output", "response"])
async def test_the_output_has_other_names_too(name):
    """`output` is required under one of its names."""
    async with running_api() as api:
        assert (await api.post({name: "4", "criteria": ["c"]}))[0] == 200
        assert api.evaluator.calls[0]["case"] == Case(output="4")


async def test_messages_are_passed_on_as_they_came():
    """Fields beyond role and content, such as tool calls, reach the engine."""
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    async with running_api() as api:
        assert (await api.post(GOOD | {"output": [call]}))[0] == 200
        assert api.evaluator.calls[0]["case"].output == (call,)


async def test_text_that_looks_like_a_nul_is_none():
    """A backslash, a u and four zeros in a text are seven harmless characters."""
    async with running_api() as api:
        assert (await api.post(GOOD | {"output": "\\u0000"}))[0] == 200


@pytest.mark.parametrize(
    ("reasons", "status", "code"),
    [
        (["quota_exhausted"], 429, "quota_exhausted"),
        (["providers_unavailable", "quota_exhausted"], 503, "providers_unavailable"),
        (["overloaded"], 503, "overloaded"),
        (["deadline_exceeded", "providers_unavailable"], 504, "deadline_exceeded"),
    ],
)
async def test_nothing_scored_through_our_fault_is_a_problem(reasons, status, code):
    """An outage does not look like a result; if waiting helps, the response says how long."""
    async with running_api() as api:
        api.evaluator.answer = unscored(*reasons, retry_after_s=2.5)
        seen, headers, problem = await api.post(GOOD)
        assert (seen, problem["code"]) == (status, code)
        assert headers.get("retry-after") == (None if status == 504 else "3")


async def test_anything_the_judges_said_is_a_200_partial():
    """An unreadable verdict beside an outage, or one score of two, is an answer."""
    async with running_api() as api:
        api.evaluator.answer = unscored("judge_parse_error", "providers_unavailable")
        status, _, body = await api.post(GOOD)
        assert (status, body["status"], body["passed"]) == (200, "partial", None)
        some = CriterionResult("a", "rubric", "scored", 0.0, passed=False)
        none = CriterionResult("b", "rubric", "unscored", reason="quota_exhausted")
        api.evaluator.answer = lambda _: evaluation(some, none)
        assert (await api.post(GOOD))[0] == 200


async def test_an_unknown_model_is_reported_with_the_engines_code():
    """Errors of the domain carry their code to the caller."""
    async with running_api() as api:
        api.evaluator.error = RequestError("unknown_model", "No model is called 'x'.")
        status, _, problem = await api.post(GOOD | {"judge": "x"})
        assert (status, problem["code"]) == (422, "unknown_model")


@pytest.mark.parametrize("kind", [ZeroDivisionError, DomainError])
async def test_a_fault_of_ours_shows_nothing_and_is_reported_without_text(kind):
    """The caller gets an id to ask with; the event says where it broke, without the message."""
    async with running_api() as api:
        api.evaluator.error = kind("s3cret")
        status, _, problem = await api.post(GOOD, x_request_id="find-me")
        assert (status, problem["code"], problem["request_id"]) == (500, "internal", "find-me")
        [fault] = api.events.of(InternalFault)
        assert (fault.where, fault.request_id) == ("request", "find-me")
        assert kind.__name__ in repr(fault)
        assert "s3cret" not in repr(fault) + json.dumps(problem)


async def test_keys_decide_who_calls(tmp_path):
    """Without a known key nothing is read; with one the tenant goes along to events."""
    key, line = new_key("acme")
    (tmp_path / "keys").write_text(line)
    async with running_api(access=KeysFile(tmp_path / "keys", RecordedEvents())) as api:
        for headers in ({}, {"authorization": "Bearer wrong"}):
            status, answered, problem = await api.post(GOOD, **headers)
            assert (status, problem["code"]) == (401, "unauthenticated")
            assert answered["www-authenticate"].startswith("Bearer")
        assert (await api.post(GOOD, authorization=f"Bearer {key}"))[0] == 200
        assert [each["caller"].tenant for each in api.evaluator.calls] == ["acme"]
        assert [each.caller.tenant for each in api.events.of(RequestFinished)] == ["", "", "acme"]


async def test_a_sane_request_id_is_kept_and_any_other_replaced():
    """It goes into logs: only a plain word of the caller's is taken."""
    async with running_api() as api:
        _, headers, _ = await api.post(GOOD, x_request_id="abc-1.2_3")
        assert headers["x-request-id"] == "abc-1.2_3"
        for bad in ("a b", "x" * 129, "{}"):
            _, headers, _ = await api.post(GOOD, x_request_id=bad)
            assert headers["x-request-id"].startswith("req_")


async def test_each_request_is_an_event_with_its_route_and_never_its_path():
    """Paths and methods are the caller's own text, and would become labels."""
    async with running_api() as api:
        await api.post(GOOD)
        await api.post(GOOD, path="/secret-path")
        async with api.http.request("BREW", api.url + "/v1/models") as answer:
            await answer.read()
        finished = api.events.of(RequestFinished)
        told = [(each.method, each.route, each.status) for each in finished]
        assert told[:2] == [("POST", "/v1/evaluations", 200), ("POST", "unmatched", 404)]
        assert all(method in {"POST", "OTHER"} for method, _, _ in told)
        assert finished[0].body_bytes == len(json.dumps(GOOD))


async def test_the_catalogue_lists_each_type_with_its_schema():
    """Every registered type, with what a person needs to use it."""
    async with running_api() as api, api.http.get(api.url + "/v1/criteria") as answer:
        catalogue = await answer.json()
        assert [each["type"] for each in catalogue["data"]] == list(CRITERIA)
        for each in catalogue["data"]:
            assert each["family"]
            assert each["description"]
            assert each["example"]
            assert each["schema"]["properties"]["type"]


async def test_the_example_of_each_criterion_is_a_valid_request():
    """What the catalogue shows can be sent as it is."""
    async with running_api() as api:
        for name, criterion in CRITERIA.items():
            status, _, body = await api.post(dict(criterion.example))
            assert status == 200, (name, body)


async def test_models_are_listed_as_they_stand():
    """Breaker state, quota left and price, in the documented shape."""
    async with running_api() as api, api.http.get(api.url + "/v1/models") as answer:
        body = await answer.json()
        assert ModelListResponse.model_validate(body).model_dump(mode="json") == body
        assert body["data"][0]["breaker"] == "half_open"


async def test_the_docs_page_asks_no_other_host():
    """Its script, style sheet, picture and document all come from the service, by relative URLs."""
    async with running_api() as api:
        async with api.http.get(api.url + "/docs") as answer:
            page = await answer.text()
        urls = re.findall(r"""(?:src|href)="([^"]+)"|url: '([^']+)'""", page)
        assert len(urls) == 4
        assert "://" not in page
        for url in map("".join, urls):
            async with api.http.get(f"{api.url}/{url}") as answer:
                assert answer.status == 200, url
                assert await answer.read()


async def test_a_405_names_every_method_of_the_resource():
    """Also where several routes have the same path (RFC 9110, section 15.5.6)."""
    other = APIRouter()
    for method in ("GET", "POST"):
        other.add_api_route("/v1/things/{thing}", lambda thing: thing, methods=[method])
    async with (
        running_api(routers=[other]) as api,
        api.http.delete(api.url + "/v1/things/1") as answer,
    ):
        assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")


ORIGIN = {"Origin": "https://app.example"}
PREFLIGHT = {
    **ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
}


@pytest.mark.parametrize("cors_origins", [("https://app.example",), ("*",)])
async def test_pages_of_a_configured_origin_may_call(cors_origins, tmp_path):
    """The preflight needs no key, and problems can be read as well as results."""
    (tmp_path / "keys").write_text(new_key("acme")[1])
    access = KeysFile(tmp_path / "keys", RecordedEvents())
    async with running_api(cors_origins=cors_origins, access=access) as api:
        url = api.url + "/v1/evaluations"
        async with api.http.options(url, headers=PREFLIGHT) as answer:
            assert answer.status == 200
            assert "idempotency-key" in answer.headers["Access-Control-Allow-Headers"]
        async with api.http.post(url, json=GOOD, headers=ORIGIN) as answer:
            assert answer.status == 401
            assert answer.headers["Access-Control-Allow-Origin"] in ("*", "https://app.example")
            assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("cors_origins", [(), ("https://other.example",)])
async def test_pages_of_other_origins_may_not(cors_origins):
    """Without the header, the browser keeps the response from the page."""
    async with running_api(cors_origins=cors_origins) as api:
        url = api.url + "/v1/evaluations"
        async with api.http.post(url, json=GOOD, headers=ORIGIN) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers
        async with api.http.options(url, headers=PREFLIGHT) as answer:
            assert answer.status in (400, 405)


async def test_a_role_decides_what_a_key_permits(tmp_path):
    """`read` reads, `write` has work done as well, `operator` steers the service for everybody."""
    keys = {role: new_key("acme", f"role={role}") for role in ("read", "write", "operator")}
    (tmp_path / "keys").write_text("\n".join(line for _, line in keys.values()))
    async with running_api(access=KeysFile(tmp_path / "keys", RecordedEvents())) as api:
        statuses = {}
        for role, (key, _) in keys.items():
            headers = {"authorization": f"Bearer {key}"}
            async with api.http.get(api.url + "/v1/models", headers=headers) as answer:
                read = answer.status
            posted, _, _ = await api.post(GOOD, **headers)
            url = api.url + "/v1/models/openai/gpt-6-luna/breaker"
            async with api.http.put(url, headers=headers, json={"state": "reset"}) as answer:
                statuses[role] = (read, posted, answer.status)
    assert statuses == {
        "read": (200, 403, 403),
        "write": (200, 200, 403),
        "operator": (200, 200, 200),
    }


async def test_the_docs_are_open_and_name_every_resource(tmp_path):
    """Docs need no key; the document says which requests do."""
    (tmp_path / "keys").write_text(new_key("acme")[1])
    async with running_api(access=KeysFile(tmp_path / "keys", RecordedEvents())) as api:
        async with api.http.get(api.url + "/docs") as answer:
            assert answer.status == 200
        async with api.http.get(api.url + "/openapi.json") as answer:
            document = await answer.json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) >= {"/v1/evaluations", "/evaluate", "/v1/criteria", "/v1/models"}


async def test_requests_in_a_row_share_a_connection():
    """Good answers and problems alike leave the connection open for the next request."""
    async with running_api() as api:
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector) as http:
            for document in (GOOD, {}, GOOD):
                async with http.post(api.url + "/v1/evaluations", json=document) as answer:
                    await answer.read()
                    assert "connection" not in answer.headers
            assert api.server.server_state.total_requests == 3
            assert len(api.server.server_state.connections) == 1
