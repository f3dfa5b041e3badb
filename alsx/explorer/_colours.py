"""Colours of genres: told apart by readers with any common colour blindness, on a light page and on a dark one."""

from __future__ import annotations

# Colours that are lost on the dark page (a contrast below 2.9), and what stands for them there: of the same hue nearly, found by a
# random search for the largest distance to the other colours for readers with each kind of cones (CIEDE2000: 9 or more among the
# first twelve genres of the palette, where it is 10 on white). The same colours mixed with white come as near as 2.
ON_DARK = {"#840614": "#A73F4A", "#1E3372": "#4E7AE9", "#474543": "#4E676B"}

GENRE_COLOURS = {
    "Drama": "#4F9CEC", "Comedy": "#D69509", "Romance": "#E561A3", "Thriller": "#8B5392", "Sci-Fi": "#0D57E0", "Crime": "#840614",
    "Children": "#EAE02F", "Horror": "#D7221B", "Fantasy": "#CBB5EB", "Mystery": "#1E3372", "Animation": "#2DC481",
    "Adventure": "#0E907A", "Action": "#D27B47", "War": "#5E6F05", "Musical": "#FAB9AB", "Documentary": "#7AAB94",
    "Western": "#93715E", "Film-Noir": "#474543",
}  # fmt: skip


def genre_colours(genres: list[str]) -> list[tuple[str, str]]:
    """Return the colours of genres, on a light page and on a dark one."""
    chosen = {name: GENRE_COLOURS[name] for name in genres if name in GENRE_COLOURS}
    free = [colour for colour in GENRE_COLOURS.values() if colour not in chosen.values()]
    for name in genres:
        if name not in chosen:
            chosen[name] = free.pop(0)
    return [(chosen[name], ON_DARK.get(chosen[name], chosen[name])) for name in genres]
