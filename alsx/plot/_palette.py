"""The colours of genres: one for each, the same in every picture, told apart by readers with any colour vision."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from zlib import crc32

# Found by a random search from hand-picked hues (red for horror, yellow for children, navy for mysteries), for the smallest
# distance of any two (CIEDE2000) as people see them whose eyes lack one kind of cones (Machado, Oliveira and Fernandes,
# 2009); `tests/test_plot_palette.py` holds what was reached. The first twelve are the genres that maps of MovieLens show, and
# lie furthest apart: 10 or more for everybody, where 1 is just noticed. Okabe and Ito's eight colours reach 8.
GENRE_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "Drama": "#4F9CEC",
        "Comedy": "#D69509",
        "Romance": "#E561A3",
        "Thriller": "#8B5392",
        "Sci-Fi": "#0D57E0",
        "Crime": "#840614",
        "Children": "#EAE02F",
        "Horror": "#D7221B",
        "Fantasy": "#CBB5EB",
        "Mystery": "#1E3372",
        "Animation": "#2DC481",
        "Adventure": "#0E907A",
        "Action": "#D27B47",
        "War": "#5E6F05",
        "Musical": "#FAB9AB",
        "Documentary": "#7AAB94",
        "Western": "#93715E",
        "Film-Noir": "#474543",
    }
)
N_FAR_APART = 12  # the first so many colours
OTHER_COLOUR = "#C9C9C9"
OTHER = "other"
# How other data sets, and older MovieLens sets, call the same genres; compared without case and punctuation.
OTHER_NAMES = {
    "childrens": "Children", "kids": "Children", "family": "Children", "sciencefiction": "Sci-Fi", "sf": "Sci-Fi",
    "noir": "Film-Noir", "music": "Musical", "animated": "Animation", "suspense": "Thriller",
}  # fmt: skip


def plain(genre: str) -> str:
    """Return the name of a genre as names are compared: small letters and digits of any script alone."""
    return re.sub(r"[\W_]+", "", genre.casefold())


PLAIN_NAMES = {plain(genre): genre for genre in GENRE_COLOURS} | OTHER_NAMES


def genre_colours(genres: Iterable[str]) -> dict[str, str]:
    """Return a colour for each genre, the same in every picture.

    Parameters
    ----------
    genres : iterable of str
        The genres of one picture. Case, punctuation and common second names do not matter: "Children's" has the colour of
        "Children", "Science Fiction" that of "Sci-Fi".

    Returns
    -------
    colours : dict of str -> str
        From the genres, and "other", to ``#RRGGBB``. No two genres of one call have the same colour unless there are more
        than 18.

    Notes
    -----
    The eighteen genres of MovieLens have fixed colours (:data:`GENRE_COLOURS`), which readers with any colour vision can tell
    apart. A genre of another name, such as "Poetry", takes a colour that its letters choose, or where another genre of the
    call has that one the next that is free: it is the same in every picture as far as the other genres allow.

    Examples
    --------
    >>> from alsx.plot import genre_colours
    >>> genre_colours(["Horror", "Children's"])
    {'Horror': '#D7221B', "Children's": '#EAE02F', 'other': '#C9C9C9'}
    """
    names = [name for name in dict.fromkeys(map(str, genres)) if name != OTHER]
    chosen: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (name not in GENRE_COLOURS, name)):  # whatever order they come in
        genre = PLAIN_NAMES.get(plain(name))
        if genre is not None and GENRE_COLOURS[genre] not in chosen.values():
            chosen[name] = GENRE_COLOURS[genre]
    colours = list(GENRE_COLOURS.values())
    for name in sorted(set(names) - set(chosen)):
        start = crc32(name.encode()) % N_FAR_APART
        # Round the twelve that lie furthest apart, then what is left.
        wanted = colours[start:N_FAR_APART] + colours[:start] + colours[N_FAR_APART:]
        free = [colour for colour in wanted if colour not in chosen.values()]
        chosen[name] = free[0] if free else wanted[0]
    return {name: chosen[name] for name in names} | {OTHER: OTHER_COLOUR}
