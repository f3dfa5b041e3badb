"""Pictures: the map of the items, the history of a fit, and whether uncertainties are reliable.

===================  =======================================================================================
`embedding_map`      the items of a factor model as a map with genres and titles
`history`            loss and RMSE of each iteration, of one model or several
`reliability`        predicted uncertainties against the errors that were found
`embed`              positions on a plane for vectors: t-SNE or PCA
`neighbour_jaccard`  how much more alike in genre neighbours are than any two items
`main_genres`        one genre for each item, to colour it by
`genre_colours`      a colour for each genre, the same in every picture; `GENRE_COLOURS` has the fixed ones
===================  =======================================================================================

Nothing else in the package imports this one, so that only those who draw wait for matplotlib. Figures are made without
``pyplot``: no window opens, no figure is left behind in a global list, the backend and ``rcParams`` stay as they are.
Hand over an ``ax`` (or ``fig``) made with ``pyplot`` to draw into a figure of your own.
"""

from __future__ import annotations

from alsx.plot._curves import history, reliability
from alsx.plot._embedding import embed, main_genres, neighbour_jaccard
from alsx.plot._map import embedding_map
from alsx.plot._palette import GENRE_COLOURS, genre_colours

__all__ = [
    "GENRE_COLOURS", "embed", "embedding_map", "genre_colours", "history", "main_genres", "neighbour_jaccard", "reliability"
]  # fmt: skip
