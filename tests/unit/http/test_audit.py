"""Which requests become actions of the audit log."""

from types import SimpleNamespace

import pytest

from assay.http.audit import TARGET_CHARS_MAX, audited

STATE = {"tenant": "acme", "key_name": "ops", "request_id": "req_1"}


def scope(method="DELETE", operation="delete_dataset", path="/v1/datasets/faq", **state):
    route = SimpleNamespace(operation_id=operation, name="x", path="/v1/datasets/{name}")
    return {"method": method, "path": path, "route": route, "state": {**STATE, **state}}


def test_a_delete_is_an_action():
    """It has who, what, on what and the result, and no body."""
    action = audited(scope(), 204)
    assert (action.action, action.target, action.status) == (
        "delete_dataset", "/v1/datasets/faq", 204,
    )  # fmt: skip
    assert (action.tenant, action.key, action.request_id) == ("acme", "ops", "req_1")


def test_a_command_to_a_breaker_says_which():
    """The state that was asked for is its detail."""
    found = scope("PUT", "order_breaker", "/v1/models/a/b/breaker", audit_detail="forced_open")
    assert audited(found, 200).detail == "forced_open"


@pytest.mark.parametrize(("method", "operation"), [("GET", "get_dataset"), ("POST", "create")])
def test_what_can_be_undone_is_no_action(method, operation):
    """Reads, and writes that add something."""
    assert audited(scope(method, operation), 200) is None


@pytest.mark.parametrize(
    ("status", "counts"),
    [(200, True), (403, True), (499, True), (500, True), (404, False), (409, False), (429, False)],
)
def test_what_did_not_happen_is_no_action(status, counts):
    """But what was not allowed is, and what may have happened."""
    assert (audited(scope(), status) is not None) is counts


def test_callers_without_a_key_cannot_fill_the_log():
    """Nor requests that match no resource; a long path is cut."""
    assert audited(scope(tenant=""), 403) is None
    assert audited({**scope(), "route": None}, 500) is None
    assert len(audited(scope(path="/" * 9_999), 204).target) == TARGET_CHARS_MAX
