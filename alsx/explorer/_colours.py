"""Colours of genres: those of `alsx.plot`, and what stands for them on a dark page."""

from __future__ import annotations

# Colours of `alsx.plot.GENRE_COLOURS` that are lost on the dark page (a contrast below 2.9), and what stands for them there: of
# nearly the same hue, found by a random search for the largest distance to the other colours for readers with each kind of cones
# (CIEDE2000: 9 or more among the first twelve, where it is 10 on white). Mixed with white they come as near as 2.
ON_DARK = {"#840614": "#A73F4A", "#1E3372": "#4E7AE9", "#474543": "#4E676B"}


def colour_pairs(genres: list[str]) -> list[tuple[str, str]]:
    """Return the colours of genres, on a light page and on a dark one."""
    from alsx.plot import genre_colours

    colours = genre_colours(genres)
    return [(colours[name], ON_DARK.get(colours[name], colours[name])) for name in genres]
