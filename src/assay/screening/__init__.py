"""Signs that a text was written to sway the judge, and what is done about them."""

from assay.screening.scan import masked, scan
from assay.screening.screener import Screener, held_back_because

__all__ = ["Screener", "held_back_because", "masked", "scan"]
