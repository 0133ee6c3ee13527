"""`assay keys create`."""

import hashlib

import pytest
from starlette.datastructures import Headers

from assay.http.keys_file import KeysFile, parse_keys
from fakes.recorded_events import RecordedEvents


def test_a_key_is_shown_once_with_the_line_for_the_keys_file(assay):
    """stdout has the key and the line that lets it in; the line holds only the key's hash."""
    ran = assay("keys", "create", "--tenant", "acme")
    assert ran.returncode == 0, ran.stderr
    key, line = ran.stdout.splitlines()
    assert line.split() == [hashlib.sha256(key.encode()).hexdigest(), "acme"]
    assert key not in ran.stderr


def test_two_keys_differ(assay):
    """A key is never given out twice."""
    one, two = (assay("keys", "create", "--tenant=acme").stdout for _ in range(2))
    assert one.splitlines()[0] != two.splitlines()[0]


def test_role_expiry_and_name_stand_in_the_line(assay):
    """And what the file would not accept makes no key."""
    options = ("--role=operator", "--expires=2026-12-31", "--name=ci")
    ran = assay("keys", "create", "--tenant=acme", *options)
    keys, faults = parse_keys(ran.stdout.splitlines()[1])
    (identity,) = keys.values()
    assert (identity.role, identity.key_name, faults) == ("operator", "ci", [])
    for wrong in ("--role=admin", "--expires=soon", "--name=a b"):
        ran = assay("keys", "create", "--tenant=acme", wrong)
        assert (ran.returncode, ran.stdout) == (2, "")


@pytest.mark.parametrize("before", [None, "", "# ours\n", "# no line end"])
def test_the_line_is_added_to_the_keys_file(assay, tmp_path, before):
    """The file keeps its content, a new file is private, and the service accepts the key."""
    file = tmp_path / "keys"
    if before is not None:
        file.write_text(before)
    ran = assay("keys", "create", "--tenant=acme", "--keys-file=keys")
    assert ran.returncode == 0, ran.stderr
    (key,) = ran.stdout.splitlines()
    assert (
        KeysFile(file, RecordedEvents())
        .identify(Headers({"authorization": f"Bearer {key}"}))
        .tenant
        == "acme"
    )
    assert file.read_text().startswith(before or "")
    assert key not in file.read_text()
    if before is None:
        assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "arguments", [("--tenant=a b",), ("--tenant=a", "--keys-file=no/such"), ()]
)
def test_wrong_use_makes_no_key(assay, arguments):
    """A name that the keys file cannot hold, or a file that cannot be written, is exit code 2."""
    ran = assay("keys", "create", *arguments)
    assert ran.returncode == 2
    assert ran.stdout == ""
