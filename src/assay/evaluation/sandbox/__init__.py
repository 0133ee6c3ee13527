"""Runs checks where they cannot stall the service: costly ones in processes that can be killed."""
