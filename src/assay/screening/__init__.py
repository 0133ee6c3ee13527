"""Signs that a text was written to sway the judge, and what is done about them."""

from assay.screening.scan import scan
from assay.screening.screener import Screener, Screening

__all__ = ["Screener", "Screening", "scan"]
