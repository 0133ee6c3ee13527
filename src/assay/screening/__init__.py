"""Signs that a text was written to sway the judge, and what is done about them."""

from assay.screening.scan import masked, scan, without_signs
from assay.screening.screener import Screener, Screening, held_back_because

__all__ = ["Screener", "Screening", "held_back_because", "masked", "scan", "without_signs"]
