"""Numbers and durations as a person reads them: on the terminal, in verdicts and in reports."""

import math
from typing import Any

ABSENT = "–"
"""Stands where a value is missing or not defined."""


def number(value: Any, decimals: int | None = None) -> str:
    """A number with about four significant digits, or with ``decimals`` places; other values as text.

    Args:
        value: anything from JSON; None and NaN become a dash.
        decimals: digits after the point; chosen by size when None.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if math.isinf(value):
        text = "∞" if value > 0 else "-∞"
    elif isinstance(value, int):
        text = f"{value:,}"
    elif value != 0 and not 1e-4 <= abs(value) < 1e7 and not (decimals and abs(value) < 1):
        mantissa, exponent = f"{value:.3e}".split("e")
        power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        text = f"{float(mantissa):g} × 10{power}"
    elif decimals is not None:
        text = f"{value:,.{decimals}f}"
    else:
        text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return text.replace("-", "−")


def duration(seconds: float | None) -> str:
    """A time span: 0.42 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds is None or not math.isfinite(seconds):
        return ABSENT
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
