"""Signs that a text was written to sway the judge, and what is done about them."""

from assay.evaluation.injection.guard import Guard
from assay.evaluation.injection.scan import scan

__all__ = ["Guard", "scan"]
