"""Ratings to start from: the MovieLens archives, a built-in demo set, and simulated ratings of any size.

=================  =========================================================================================
`load_movielens`   every official MovieLens archive: by name (downloaded once and verified), .zip or folder
`load_demo`        well-known films with *simulated* ratings; needs no download
`make_ratings`     simulated ratings with a planted truth, up to the size of MovieLens 32M
`MovieLens`        what the loaders return: ratings, films, tags, demographics
=================  =========================================================================================
"""

from __future__ import annotations

from alsx.datasets.demo import load_demo
from alsx.datasets.movielens import MovieLens, load_movielens
from alsx.datasets.simulate import make_ratings

__all__ = ["MovieLens", "load_demo", "load_movielens", "make_ratings"]
