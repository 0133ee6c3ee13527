"""API keys: the file, its changes, and whom it admits."""

import hashlib
import os

import pytest

from assay.http.access import KeysFile, OpenAccess, new_key, parse_keys
from assay.http.problems import ProblemError

KEY = "assay_test"
LINE = f"{hashlib.sha256(KEY.encode()).hexdigest()} acme role=operator # of the platform team\n"


@pytest.fixture
def keys_file(tmp_path):
    path = tmp_path / "keys"
    path.write_text("# keys\n\n" + LINE)
    return path


def test_a_known_key_names_its_tenant_and_attributes(keys_file):
    """The scheme is not case-sensitive; comments and blank lines are passed over."""
    identity = KeysFile(keys_file).identify(f"bearer {KEY}")
    assert identity.tenant == "acme"
    assert identity.attributes == {"role": "operator"}


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {KEY}", KEY, "Bearer " + "x" * 10_000],
)
def test_anything_else_is_a_401_with_a_challenge(keys_file, header):
    """A missing, wrong or oversized key; the answer never repeats it."""
    with pytest.raises(ProblemError) as refused:
        KeysFile(keys_file).identify(header)
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
    assert keys.identify(f"Bearer {other}").tenant == "other"
    replace(keys_file, "half a li")
    assert keys.identify(f"Bearer {other}").tenant == "other"
    keys_file.unlink()
    assert keys.identify(f"Bearer {other}").tenant == "other"
    keys_file.write_text(LINE)
    with pytest.raises(ProblemError):
        keys.identify(f"Bearer {other}")


def test_open_access_is_one_tenant():
    """Without keys there is one tenant, whatever is sent."""
    assert OpenAccess().identify("Bearer whatever").tenant == "default"


def replace(path, text):
    """Write a file as deployments do: beside it, then over it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)  # noqa: PTH105 # the atomic call, by its name
