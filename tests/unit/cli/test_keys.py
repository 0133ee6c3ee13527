"""`assay keys create`."""

import hashlib

import pytest
from starlette.datastructures import Headers

from assay.http.access import KeysFile


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


@pytest.mark.parametrize("before", [None, "", "# ours\n", "# no line end"])
def test_the_line_is_added_to_the_keys_file(assay, tmp_path, before):
    """The file keeps its content, a new file is private, and the service accepts the key."""
    file = tmp_path / "keys"
    if before is not None:
        file.write_text(before)
    ran = assay("keys", "create", "--tenant=acme", "--keys-file=keys")
    assert ran.returncode == 0, ran.stderr
    (key,) = ran.stdout.splitlines()
    assert KeysFile(file).identify(Headers({"authorization": f"Bearer {key}"})).tenant == "acme"
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
