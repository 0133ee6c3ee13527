"""API keys: the file, its changes, and whom it admits."""

import hashlib
import os

import pytest
from starlette.datastructures import Headers

from assay.http.access import KeysFile, OpenAccess, new_key, parse_keys
from assay.http.hosts import LocalHosts
from assay.http.problems import ProblemError

KEY = "assay_test"
LINE = f"{hashlib.sha256(KEY.encode()).hexdigest()} acme role=operator # of the platform team\n"


def sent(authorization=None, host="localhost"):
    """The headers of a request."""
    headers = {"host": host, "authorization": authorization}
    return Headers({name: value for name, value in headers.items() if value is not None})


@pytest.fixture
def keys_file(tmp_path):
    path = tmp_path / "keys"
    path.write_text("# keys\n\n" + LINE)
    return path


def test_a_known_key_names_its_tenant_and_attributes(keys_file):
    """The scheme is not case-sensitive; comments and blank lines are passed over."""
    identity = KeysFile(keys_file).identify(sent(f"bearer {KEY}"))
    assert identity.tenant == "acme"
    assert identity.attributes == {"role": "operator"}


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {KEY}", KEY, "Bearer " + "x" * 10_000],
)
def test_anything_else_is_a_401_with_a_challenge(keys_file, header):
    """A missing, wrong or oversized key; the answer never repeats it."""
    with pytest.raises(ProblemError) as refused:
        KeysFile(keys_file).identify(sent(header))
    assert refused.value.problem.code == "unauthenticated"
    assert refused.value.problem.headers == (("www-authenticate", 'Bearer realm="assay"'),)


def test_a_new_key_is_let_in_by_its_line():
    """The line holds the key's digest, not the key."""
    key, line = new_key("acme")
    assert key not in line
    digest = hashlib.sha256(key.encode()).hexdigest()
    assert parse_keys(line)[digest][1].tenant == "acme"


@pytest.mark.parametrize("tenant", ["", "a b", "a{b}", "x" * 65, "a#b"])
def test_a_tenant_has_a_plain_name(tenant):
    """It becomes a part of Redis keys, where braces have a meaning."""
    with pytest.raises(ValueError, match="tenant"):
        new_key(tenant)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nothex acme", "line 2: .*SHA-256"),
        ("a" * 64, "line 2: .*tenant"),
        ("a" * 64 + " acme role", "line 2: .*name=value"),
    ],
)
def test_a_faulty_line_is_named_and_not_shown(line, message):
    """The error goes to a log: it names the line by its number alone."""
    with pytest.raises(ValueError, match=message) as error:
        parse_keys("# first\n" + line)
    assert line not in str(error.value)


def test_a_changed_file_is_taken_up_and_a_broken_one_is_not(keys_file):
    """Keys come and go without a restart; a half-written file changes nothing."""
    keys = KeysFile(keys_file, check_interval_s=0)
    other, line = new_key("other")
    replace(keys_file, LINE + line)
    assert keys.identify(sent(f"Bearer {other}")).tenant == "other"
    replace(keys_file, "half a li")
    assert keys.identify(sent(f"Bearer {other}")).tenant == "other"
    keys_file.unlink()
    assert keys.identify(sent(f"Bearer {other}")).tenant == "other"
    keys_file.write_text(LINE)
    with pytest.raises(ProblemError):
        keys.identify(sent(f"Bearer {other}"))


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
    assert access.identify(sent("Bearer whatever", host)).tenant == "default"


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
        OpenAccess().identify(sent(host=host))
    assert refused.value.problem.code == "unauthenticated"


def replace(path, text):
    """Write a file as deployments do: beside it, then over it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)  # noqa: PTH105 # the atomic call, by its name
