"""Audit: data in, findings out; one file per illness."""
