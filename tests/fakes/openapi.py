"""Writes the OpenAPI document: `python -m fakes.openapi > tests/golden/openapi.json`."""

from __future__ import annotations

import json
import sys

from assay.api.app import create_app
from assay.api.services import Services
from assay.http.access import OpenAccess
from assay.http.limits import Limits
from fakes.engine import comparer
from fakes.http_api import Events, NoStore, OneModel, ScriptedEvaluator
from fakes.judges import FakeJudges


def main() -> None:
    services = Services(
        evaluator=ScriptedEvaluator(),
        comparer=comparer(FakeJudges(), Events()),
        access=OpenAccess(),
        idempotency=NoStore(),
        models=OneModel(),
        events=Events(),
    )
    document = create_app(services, Limits()).openapi()
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
