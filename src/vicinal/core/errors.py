"""The one error that a user's input can cause, and how it offers the nearest names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """What a user gave cannot be used: one line says what, where, and what to do."""


def nearest(name: str, known: Iterable[str], *, limit: int = 3) -> str:
    """The known names closest to a mistyped one, as the end of an error message.

    Args:
        name: what the user typed.
        known: the names that exist.
        limit: how many to offer.

    Returns:
        `did you mean a, b?`, or all known names if none is close.
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(name.lower(), names, n=limit, cutoff=0.5)
    if close:
        return f"did you mean {', '.join(close)}?"
    return f"known: {', '.join(names)}"
