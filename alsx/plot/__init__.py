"""Pictures: the map of the items, fits and their errors, distributions of ratings, factors and predictions to read.

=====================  =====================================================================================
`embedding_map`        the items of a factor model as a map with genres and titles
`history`              loss, training and test RMSE of each iteration, of one model or several
`reliability`          predicted uncertainties against the errors that were found
`errors_by_count`      the error against the number of ratings that an item, or a user, has
`cold_start`           the error for new users against how many of their ratings are known
`rating_distribution`  which ratings are given how often
`popularity`           how unevenly ratings are spread over items, or over users
`factors`              what the factors are about: the items at both ends of each
`explanation`          what one prediction is made of
`embed`                positions on a plane for vectors: t-SNE or PCA
`neighbour_jaccard`    how much more alike in genre neighbours are than any two items
`main_genres`          one genre for each item, to colour it by
`genre_colours`        a colour for each genre, the same in every picture; `GENRE_COLOURS` has the fixed ones
=====================  =====================================================================================

Nothing else in the package imports this one, so that only those who draw wait for matplotlib. Figures are made without
``pyplot``: no window opens, no figure is left behind in a global list, the backend and ``rcParams`` stay as they are.
Hand over an ``ax`` (or ``fig``) made with ``pyplot`` to draw into a figure of your own.
"""

from __future__ import annotations

from alsx.plot._distributions import popularity, rating_distribution
from alsx.plot._embedding import embed, main_genres, neighbour_jaccard
from alsx.plot._errors import cold_start, errors_by_count
from alsx.plot._explanation import explanation
from alsx.plot._factors import factors
from alsx.plot._history import history
from alsx.plot._map import embedding_map
from alsx.plot._palette import GENRE_COLOURS, genre_colours
from alsx.plot._reliability import reliability

__all__ = [
    "GENRE_COLOURS",
    "cold_start",
    "embed",
    "embedding_map",
    "errors_by_count",
    "explanation",
    "factors",
    "genre_colours",
    "history",
    "main_genres",
    "neighbour_jaccard",
    "popularity",
    "rating_distribution",
    "reliability",
]
