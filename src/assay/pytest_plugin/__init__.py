"""Tests of outputs in pytest: the fixture `assay`, its marker and its options.

This package needs pytest and the client, and loads the client only where a test uses the fixture.
"""

from assay.pytest_plugin.cases import assay_cases
from assay.pytest_plugin.fixture import AssayFixture

__all__ = ["AssayFixture", "assay_cases"]
