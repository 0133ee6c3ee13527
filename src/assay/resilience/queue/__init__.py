"""The fair queue in which calls of one process wait for their turn."""
