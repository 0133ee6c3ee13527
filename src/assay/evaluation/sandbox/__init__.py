"""Processes in which costly checks run, and are killed when they take too long."""
