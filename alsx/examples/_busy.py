"""Whether other programs kept a processor from this one, so that its seconds are not those of an idle machine."""

from __future__ import annotations

from pathlib import Path

# Threads that waited for more than this share of the time make it worth a sentence: less is what any machine does.
MIN_WAITED_SHARE = 0.15


def seconds_waited() -> float | None:
    """Return how long the threads of this process were ready and had no processor so far, all in all.

    Only Linux counts it; None elsewhere.
    """
    waited = 0
    try:
        for thread in Path("/proc/self/task").iterdir():
            # Nanoseconds on a processor, nanoseconds waiting for one, and how often.
            waited += int((thread / "schedstat").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return waited / 1e9


def busy_sentence(before: float | None, after: float | None, seconds: float) -> str:
    """Return what is to be said of a time that was measured between two calls of `seconds_waited`; "" where it was quiet."""
    if before is None or after is None or after - before < MIN_WAITED_SHARE * seconds:
        return ""
    return f"The machine was busy: threads waited {after - before:.2g} s for a processor; on an idle one it takes less time."
