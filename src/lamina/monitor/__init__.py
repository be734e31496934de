"""From records to findings: one file per illness, each with ``find(history) -> Finding | None``."""
