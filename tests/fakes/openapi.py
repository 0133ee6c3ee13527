"""Writes the OpenAPI document: `python -m fakes.openapi > tests/golden/openapi.json`."""

from __future__ import annotations

import json
import sys

from assay.bootstrap.document import openapi_document

if __name__ == "__main__":
    json.dump(openapi_document(), sys.stdout, indent=2, ensure_ascii=False, sort_keys=True)
    sys.stdout.write("\n")
