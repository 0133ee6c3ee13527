"""The operations page is true: its commands run, and the metrics and log lines it names exist."""

import asyncio
import re
from pathlib import Path

from assay.http.keys_file import new_key
from fakes.service_process import running_service

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)

CONFIG = """
[auth]
keys_file = "{keys}"

[providers.first]
dialect = "simulated"

[models."first/judge"]
provider = "first"
name = "judge-1"
requests_per_minute = 60
"""


async def test_every_command_runs(tmp_path):
    """Each succeeds against a real service, in the order of the page."""
    keys = {tenant: new_key(tenant) for tenant in ("someone", "operator")}
    keys_file = tmp_path / "keys"
    lines = (keys["someone"][1], f"{keys['operator'][1]} role=operator")
    keys_file.write_text("\n".join(lines) + "\n")
    async with running_service(tmp_path, CONFIG.format(keys=keys_file)) as service:
        environment = {
            "PATH": "/usr/bin:/bin",
            "ASSAY": service.url,
            "METRICS": service.metrics_url,
            "KEY": keys["someone"][0],
            "OPERATOR_KEY": keys["operator"][0],
            "MODEL": "first/judge",
        }
        for command in COMMANDS:
            shell = await asyncio.create_subprocess_exec(
                "bash", "-euo", "pipefail", "-c", command, env=environment,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            output, _ = await shell.communicate()
            assert shell.returncode == 0, f"{command}\n{output.decode()}"
            assert output.strip(), command
    assert len(COMMANDS) >= 5


def test_every_metric_on_the_page_exists():
    """The page names only metrics that docs/metrics.md lists."""
    known = (ROOT / "docs" / "metrics.md").read_text()
    named = set(re.findall(r"`(assay_\w+)", PAGE))
    assert len(named) > 10
    assert {name for name in named if f"`{name}`" not in known} == set()


def test_every_log_line_on_the_page_is_written():
    """The page names log lines as the code does."""
    source = (ROOT / "src" / "assay" / "telemetry" / "logging.py").read_text()
    for name in ("provider_key_rejected", "store_unavailable", "store_recovered", "queue_refused"):
        assert f"`{name}`" in PAGE
        assert f'"{name}"' in source
