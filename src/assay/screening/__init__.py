"""Signs that a text was written to sway the judge, and what is done about them."""

from assay.screening.scan import masked, scan
from assay.screening.screener import HELD_BACK, Screener

__all__ = ["HELD_BACK", "Screener", "masked", "scan"]
