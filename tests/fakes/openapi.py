"""Writes the OpenAPI document: `python -m fakes.openapi > tests/golden/openapi.json`."""

from __future__ import annotations

import json
import sys

from assay.api.app import create_app
from fakes.http_api import ScriptedEvaluator, fake_services
from fakes.limits import limits_with
from fakes.recorded_events import RecordedEvents


def main() -> None:
    services = fake_services(ScriptedEvaluator(), RecordedEvents())
    document = create_app(services, limits_with()).openapi()
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
