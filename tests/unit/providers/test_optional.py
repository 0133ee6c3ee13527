"""The libraries of clouds are imported by who needs them, and by nobody else."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import assay.bootstrap, assay.cli
print(sorted({name.partition(".")[0] for name in sys.modules} & set(sys.argv[1:])))
"""


def test_a_process_without_a_cloud_imports_none_of_its_libraries() -> None:
    """Start-up time and memory are those of what is configured."""
    libraries = ("azure", "botocore", "google", "msal", "requests")
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, *libraries], check=True, capture_output=True, text=True
    )
    assert found.stdout == "[]\n"
