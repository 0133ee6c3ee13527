"""API keys: the file, its changes, and whom it admits."""

import errno
import hashlib
import math
import os

import pytest
from starlette.datastructures import Headers

from assay.domain.events import KeysFileFaulty
from assay.http.access import Identity
from assay.http.keys_file import KeysFile, expiry_s, new_key, parse_keys
from assay.http.problems import ProblemError
from fakes.recorded_events import RecordedEvents

KEY = "assay_test"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()
LINE = f"{DIGEST} acme role=operator name=ci # of the platform team\n"
OTHER, OTHER_LINE = new_key("other")


class Keys:
    """A keys file that is checked at each call, what it reported, and a clock to set."""

    def __init__(self, path):
        self.path = path
        self.events = RecordedEvents()
        self.now_s = 0.0
        self.file = KeysFile(path, self.events, check_interval_s=0, now_s=lambda: self.now_s)

    def admits(self, key):
        return identity(self.file, f"Bearer {key}") is not None

    @property
    def faults(self):
        return [event.faults for event in self.events.of(KeysFileFaulty)]


def identity(access, authorization):
    """Whom the header names; None for a 401 with a challenge."""
    try:
        return access.identify(Headers({"authorization": authorization} if authorization else {}))
    except ProblemError as refused:
        problem = refused.problem
        challenge = ("www-authenticate", 'Bearer realm="assay"')
        return None if (problem.code, problem.headers) == ("unauthenticated", (challenge,)) else 0


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "keys"
    path.write_text("# keys\n\n" + LINE)
    return Keys(path)


def test_a_known_key_names_its_tenant_and_attributes(keys):
    """The scheme is not case-sensitive; comments and blank lines are passed over."""
    assert identity(keys.file, f"bearer {KEY}") == Identity("acme", "operator", "ci", math.inf)


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {KEY}", KEY, "Bearer " + "x" * 10_000],
)
def test_anything_else_is_a_401_with_a_challenge(keys, header):
    """A missing, wrong or oversized key; the answer never repeats it."""
    assert identity(keys.file, header) is None


def test_a_new_key_is_let_in_by_its_line():
    """The line holds the key's digest, not the key; without a role it reads and writes."""
    key, line = new_key("acme")
    assert key not in line
    digest = hashlib.sha256(key.encode()).hexdigest()
    assert parse_keys(line) == ({digest: Identity("acme", "write")}, [])


@pytest.mark.parametrize("tenant", ["", "a b", "a{b}", "x" * 65, "a#b"])
def test_a_tenant_has_a_plain_name(tenant):
    """It becomes a part of Redis keys, where braces have a meaning."""
    with pytest.raises(ValueError, match="tenant"):
        new_key(tenant)


@pytest.mark.parametrize(
    "line",
    [
        "nothex acme",
        DIGEST,
        f"{DIGEST} ac:me",
        f"{DIGEST} acme role",
        f"{DIGEST} acme role=",
        f"{DIGEST} acme role=admin",
        f"{DIGEST} acme roel=read",
        f"{DIGEST} acme role=read role=operator",
        f"{DIGEST} acme expire=2026-12-31",
        f"{DIGEST} acme expires=soon",
        f"{DIGEST} acme expires=2026-12-31T10:00",
        f"{DIGEST} acme name=",
        f"{DIGEST} acme name=\ufffd",
    ],
)
def test_a_line_that_is_not_clear_allows_nothing(line):
    """It is named by its number, not shown, and takes no other line along."""
    found, faults = parse_keys(f"# first\n{line}\n{OTHER_LINE}\n")
    assert [each.tenant for each in found.values()] == ["other"]
    assert len(faults) == 1
    assert faults[0].startswith("line 2 allows nothing: ")
    assert line not in faults[0]


@pytest.mark.parametrize(
    ("second", "allowed"),
    [
        (LINE, True),
        (f"{DIGEST} acme role=read", False),
        (f"{DIGEST.upper()} other role=operator name=ci", False),
        (f"{DIGEST} acme role=typo", False),
    ],
)
def test_a_digest_that_stands_twice_must_say_the_same(second, allowed):
    """Which of two tenants or roles is meant is not clear."""
    found, faults = parse_keys(f"{LINE}{second}\n{OTHER_LINE}")
    assert (DIGEST in found) == allowed
    assert bool(faults) != allowed
    assert len(found) == 1 + allowed


def test_two_keys_of_a_tenant_overlap(keys):
    """A key is replaced without a gap: both are accepted until the old line goes."""
    key, line = new_key("acme", "name=ci-2")
    replace(keys.path, LINE + line)
    assert keys.admits(KEY)
    assert keys.admits(key)
    replace(keys.path, line)
    assert not keys.admits(KEY)
    assert keys.admits(key)


def test_a_key_is_revoked_though_another_line_is_broken(keys, caplog):
    """The typo is logged and counted; it does not keep the file from being loaded."""
    replace(keys.path, LINE + OTHER_LINE)
    assert keys.admits(OTHER)
    replace(keys.path, LINE + "a typo\n")
    assert keys.admits(KEY)
    assert not keys.admits(OTHER)
    assert keys.faults == [1]
    assert "line 2 allows nothing" in caplog.text
    assert "a typo" not in caplog.text


def test_bytes_that_are_no_text_break_their_line_alone(keys):
    """A file in another encoding, or with a byte order mark."""
    keys.path.write_bytes(b"\xef\xbb\xbf" + LINE.encode() + b"\xff\xfe\n" + OTHER_LINE.encode())
    assert keys.admits(KEY)
    assert keys.admits(OTHER)
    assert keys.faults == [1]


def test_a_file_that_is_gone_admits_nobody_until_it_is_back(keys, caplog):
    """It allows nothing. That is reported once."""
    keys.path.unlink()
    assert not keys.admits(KEY)
    assert not keys.admits(KEY)
    assert keys.faults == [1]
    assert "no key is accepted" in caplog.text
    keys.path.write_text(LINE)
    assert keys.admits(KEY)


def test_a_shortage_of_the_process_says_nothing_about_the_keys(keys, monkeypatch):
    """Too many open files are not a file that is gone: the keys stay, and are read again."""
    replace(keys.path, OTHER_LINE)
    with monkeypatch.context() as broken:
        error = OSError(errno.EMFILE, "too many open files")
        broken.setattr("pathlib.Path.read_text", lambda *_, **__: (_ for _ in ()).throw(error))
        assert keys.admits(KEY)
    assert not keys.admits(KEY)
    assert keys.admits(OTHER)


def test_a_file_that_is_missing_at_the_start_is_an_error(tmp_path):
    """The path is probably wrong."""
    with pytest.raises(FileNotFoundError):
        Keys(tmp_path / "none")


def test_a_key_ends_at_its_time(keys):
    """From then on it is refused, without any change of the file."""
    key, line = new_key("acme", "expires=1970-01-01T00:01:40Z")
    replace(keys.path, line)
    keys.now_s = 99.9
    assert keys.admits(key)
    keys.now_s = 100.0
    assert not keys.admits(key)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1970-01-01", 86_400), ("1970-01-01T01:00:00+01:00", 0), ("1970-01-01T00:00Z", 0)],
)
def test_an_expiry_is_a_day_or_a_time(text, seconds):
    """A day ends at midnight UTC; a time needs its offset."""
    assert expiry_s(text) == seconds


def replace(path, text):
    """Write a file as deployments do: beside it, then over it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)  # noqa: PTH105 # the atomic call, by its name
