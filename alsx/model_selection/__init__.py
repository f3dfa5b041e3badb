"""Splitting ratings into training and test ratings, and choosing between models by it.

What is held out decides what is measured; `by` says it everywhere:

================  ==================================================================================================================
``"random"``      ratings drawn from all alike: how well missing ratings are predicted
``"user"``        the same share, or number, of each user's ratings, drawn at random (leave-n-out)
``"last"``        each user's last share, or number, of ratings by time: what users do next
``"time"``        the latest ratings of all, or those from a given time on: what happens next, with new users and items
``"cold_users"``  users whole, or but for some ratings that are given: users who come later
``"cold_items"``  items whole, or but for some ratings that are given
================  ==================================================================================================================

`train_test_split`, `train_validation_test_split` and `k_fold` take and give `Ratings`; `RatingSplit` and `RatingKFold` do the same
as splitters that scikit-learn takes as ``cv=``, for pairs of ids. `cross_validate` measures a model on several splits, `tune`
chooses parameters on an inner one, `cold_start` follows new users by how many of their ratings are known, and `k_core` leaves out
users and items of few ratings.
"""

from alsx.model_selection._cold_start import ColdStart, cold_start
from alsx.model_selection._folds import RatingKFold, k_fold
from alsx.model_selection._split import RatingSplit, k_core, train_test_split, train_validation_test_split
from alsx.model_selection._tune import Tuning, tune
from alsx.model_selection._validate import cross_validate

__all__ = [
    "ColdStart",
    "RatingKFold",
    "RatingSplit",
    "Tuning",
    "cold_start",
    "cross_validate",
    "k_core",
    "k_fold",
    "train_test_split",
    "train_validation_test_split",
    "tune",
]
