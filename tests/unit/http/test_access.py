"""Whom a service without API keys admits."""

import pytest
from starlette.datastructures import Headers

from assay.http.access import OpenAccess
from assay.http.hosts import LocalHosts
from assay.http.problems import ProblemError


def sent(host):
    """The headers of a request."""
    return Headers({"authorization": "Bearer whatever"} | ({} if host is None else {"host": host}))


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "localhost:8080",
            "LOCALHOST.",
            "app.localhost:1",
            "127.0.0.1",
            "127.8.0.1:80",
        ),
        *("[::1]", "[::1]:8080", "gate.example:443"),
    ],
)
def test_open_access_is_one_tenant_on_this_machine(host):
    """Without keys there is one tenant, whatever is sent, under the names of this machine."""
    access = OpenAccess(LocalHosts(["Gate.example"]))
    assert access.identify(sent(host)).tenant == "default"


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example"),
        *("notlocalhost", "10.0.0.1", "0.0.0.0", "[::]", "[", "", None, "127.1", "gate.example"),
    ],
)
def test_open_access_is_closed_to_other_names_of_this_machine(host):
    """A page that makes its own name resolve to the loopback is not on this machine."""
    with pytest.raises(ProblemError) as refused:
        OpenAccess().identify(sent(host))
    assert refused.value.problem.code == "unauthenticated"
