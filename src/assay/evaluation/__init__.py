"""The evaluation engine: cases evaluated and outputs compared."""
