"""Use cases over records: what lasts, whatever surface it is asked through."""
