"""The report: a run directory in, one HTML page out. ``report.write_report`` is the way in."""
