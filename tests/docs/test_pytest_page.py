"""The tests and the commands of the pytest page run unchanged against a real service."""

import asyncio
import os
import re
import sys
from pathlib import Path

from fakes.service_process import clean_environment, running_service

PAGE = (Path(__file__).parents[2] / "docs" / "pytest.md").read_text()
COMMANDS = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL))
TESTS = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)


def program(folder, name, module):
    """A command of this checkout, in a folder of the search path."""
    script = folder / name
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
    script.chmod(0o755)


async def test_the_page_does_what_it_says(tmp_path):
    """All commands succeed; the second run of the tests has no service."""
    for name, text in TESTS:
        (tmp_path / name).write_text(text)
    program(tmp_path, "assay", "assay")
    program(tmp_path, "pytest", "pytest -p assay.pytest_plugin.hooks")
    async with running_service(tmp_path) as service:
        process = await asyncio.create_subprocess_shell(
            f"set -e\n{COMMANDS}",
            cwd=tmp_path,
            env={
                **clean_environment(),
                "ASSAY_URL": service.url,
                "PATH": f"{tmp_path}:{os.environ['PATH']}",
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    said = output.decode()
    assert process.returncode == 0, said
    assert "8 judgements (8 service)" in said
    assert "8 judgements (8 replayed)" in said
    for name in ("report.html", "rows.html", "rows.xml", "rows.md"):
        assert (tmp_path / name).stat().st_size
