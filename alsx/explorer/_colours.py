"""Colours of genres: told apart by readers with any common colour blindness, on a light page and on a dark one."""

from __future__ import annotations

from alsx.plot._style import GENRE_COLOURS

# A point on the dark page has at least this contrast to it, where WCAG 2 asks for 3 of what is no text; the relative luminance
# of the page; the exponent of sRGB, nearly.
MIN_CONTRAST, DARK_LUMINANCE, GAMMA = 3.6, 0.0085, 2.2
STEPS = 40


def genre_colours(genres: list[str]) -> list[tuple[str, str]]:
    """Return the colours of genres, on a light page and on a dark one; the genre with the most items comes first."""
    return [(colour, on_dark(colour)) for colour in GENRE_COLOURS[: len(genres)]]


def on_dark(colour: str) -> str:
    """Return a colour mixed with white until it can be seen on the dark page."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    for step in range(STEPS + 1):
        mixed = [x + (1 - x) * step / STEPS for x in shares]
        luminance = sum(w * x**GAMMA for w, x in zip((0.2126, 0.7152, 0.0722), mixed, strict=True))
        if (luminance + 0.05) / (DARK_LUMINANCE + 0.05) >= MIN_CONTRAST:
            break
    return "#" + "".join(f"{round(255 * x):02x}" for x in mixed)
