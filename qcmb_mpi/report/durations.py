"""Times in words."""

from __future__ import annotations

__all__ = ["format_duration", "format_measured"]


def format_duration(seconds: float) -> str:
    """A time in words: ``45 s``, ``3 min 20 s``, ``1 h 02 min``, ``2 d 03 h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(whole / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    hours = round(whole / 3600)
    return f"{hours // 24:,} d {hours % 24:02} h"


def format_measured(seconds: float) -> str:
    """The same with the digits that short times need: ``3.2 ms``, ``0.4 s``, ``45 s``."""
    if seconds < 0.1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.1f} s" if seconds < 10 else format_duration(seconds)
