"""Ratings: whatever the user has, made into codes and into ratings by user and by item.

A rating goes straight through: an adapter for its kind of input (`frames`, `pairs`, `sparse`, `files`) makes one
`raw.RawRatings`, `ids` codes the ids, `sorting` sorts and compresses the entries, and `container.Ratings` holds the outcome.
This package knows no model.
"""

from alsx.ratings._caller import Caller
from alsx.ratings.container import Ratings, as_ratings, id_pairs, pair_times, ratings_of_rows, read_ratings
from alsx.ratings.files import is_path
from alsx.ratings.frames import described_rows, is_frame, pair_names
from alsx.ratings.ids import Ids
from alsx.ratings.sorting import CSR, is_mapped

__all__ = [
    "CSR",
    "Caller",
    "Ids",
    "Ratings",
    "as_ratings",
    "described_rows",
    "id_pairs",
    "is_frame",
    "is_mapped",
    "is_path",
    "pair_names",
    "pair_times",
    "ratings_of_rows",
    "read_ratings",
]
