"""`assay probe` and the options of all commands."""

import pytest

from assay import __version__


@pytest.mark.parametrize(("path", "code"), [("/readyz", 0), ("/draining", 1), ("/missing", 1)])
def test_the_probe_tells_ready_from_not(assay, service, path, code):
    """Only a 200 is ready."""
    assert assay("probe", "--url", service.url + path).returncode == code


def test_no_server_is_not_ready(assay, service):
    """A refused connection is exit code 1, in one line; a proxy is not asked instead."""
    url = service.url
    service.stop()
    ran = assay("probe", "--url", url, env={"http_proxy": url})
    assert ran.returncode == 1
    assert ran.stderr.startswith("assay: no response from ")
    assert len(ran.stderr.splitlines()) == 1


def test_a_probe_reads_no_files(assay):
    """Other schemes are wrong use."""
    assert assay("probe", "--url", "file:///etc/passwd").returncode == 2


def test_version(assay):
    """`assay --version` names the version."""
    assert assay("--version").stdout == f"assay {__version__}\n"
