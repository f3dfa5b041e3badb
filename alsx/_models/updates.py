"""Models that learn of users, items and ratings which come after the fit."""

from __future__ import annotations

from typing import Literal, Self

import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from alsx import _check
from alsx._models.fitted import FittedModel
from alsx._models.fold_in import fold_in
from alsx._models.partial_fit import partial_fit
from alsx._models.seen import has_values
from alsx._solver import SIDES
from alsx.typing import Features, RatingsLike, Side


class Updates(FittedModel):
    """What comes after the fit."""

    def fold_in(
        self,
        R: RatingsLike | None = None,
        y: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        *,
        side: Side = "user",
        features: Features | None = None,
    ) -> Self:
        """Return a model that also knows users, or items, who were not there when this one was fitted.

        Each is one row solve, as in a half-sweep of the fit, with the other side as it is. Its prior mean is what the fit has
        learned of features and, with `implicit_features`, of rated-item sets. Where `BayesALS` was fitted, each is the mean of its
        posterior given priors at their means, and `samples_` are not carried over.

        Parameters
        ----------
        R, y, sample_weight
            Ratings as `fit` takes them, all that there are of these users (or items); None where there are none. A model with
            `time` solves users together with the offsets of ratings that come with times; without times they have none.
        side : {"user", "item"}, default="user"
            Whose rows are new. Their ids are of the kind that the model has; the ids of the other side must be known.
        features : sparse matrix, array or data frame, default=None
            Features of the new rows, of the kind the model was fitted with. Arrays are aligned with the users of `R`, in
            ascending order (with 0 to n - 1 where there is no `R`). Default: nothing is known but ratings.

        Returns
        -------
        model : like this one
            It knows old and new rows; `folded_in_ids_` are the ids of the new ones. An id that was there before is replaced, so
            give all of its ratings. All other rows predict the same bits as before. This model stays as it is. Rows are solved from
            what those of the fit were solved from, so that somebody of the fit who is folded in again with the same ratings (and
            features) keeps his row to rounding (with `time` as far as the fit has converged; not of `BayesALS`, whose rows are
            means of draws). With `implicit_features` what the small rated-item set of somebody new says is mixed with what is
            expected of all, since it was not learned from.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        ValueError
            If an id of the other side is unknown, if neither ratings nor features are given, or if features are given
            to a model that was fitted without.
        numpy.linalg.LinAlgError
            Where a row has no unique solution, which needs a regularisation of 0.

        Examples
        --------
        >>> from alsx import FactorALS
        >>> R = [("ann", 7), ("bob", 7), ("ann", 3), ("cat", 3)]
        >>> model = FactorALS(k=2, random_state=0).fit(R, [4.5, 3.0, 5.0, 4.0])
        >>> more = model.fold_in([("dan", 7)], [3.5])
        >>> ids, scores = more.recommend("dan", n=1)
        >>> ids
        array([3])
        >>> more.folded_in_ids_
        array(['dan'], dtype='<U3')
        """
        check_is_fitted(self, "mean_")
        if side not in SIDES:
            raise ValueError(f'side is {side!r}; it must be "user" or "item"')
        self._refuse_ordinal("rows are to be folded in")
        if R is None and features is None:
            raise ValueError("R and features are both None: give ratings of the new rows, their features, or both")
        own, other = (self._users, self._items) if side == "user" else (self._items, self._users)
        if features is not None and own.encoder is None:
            raise ValueError(
                f"features: the model was fitted without {side}_features, so it has learned nothing of them"
            )
        folded = fold_in(
            own, other, self._seen, self.mean_, self._missing, self._uncertainty, R, self._values_of(R, y), sample_weight,
            features, self.n_jobs, self._n_threads(), self._times,
        )  # fmt: skip
        state = self._state()._replace(
            users=folded.users,
            items=folded.items,
            seen=folded.seen,
            uncertainty=folded.uncertainty,
            # Kept draws have rows for the users and items of the fit.
            chain=None if self._chain is None else self._chain._replace(samples=None),
            folded_in_ids=folded.ids,
            times=folded.times,
        )
        model: Self = self._with_state(state)
        return model

    def partial_fit(
        self,
        R: RatingsLike | None = None,
        y: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        *,
        refine: int = 0,
        refine_rows: Literal["touched", "all"] = "touched",
        user_features: Features | None = None,
        item_features: Features | None = None,
    ) -> Self:
        """Learn ratings that came after the fit: new ones, changed ones, of users and items that are known or not.

        Only rows that the ratings touch are solved: unseen users, then the items that were rated, then the users who rated. Each is
        solved exactly from all of its ratings, given the other side, so that a call takes as long as reading the ratings of these
        rows: most of it goes to popular items (``benchmarks/partial_fit.py``). The mean of the ratings, the regularisation and what
        prior means were learned from stay as in the fit.

        ====================================== ==============================================================================
        what came                               the result equals
        ====================================== ==============================================================================
        ratings that the model has              the same model, to the last bit
        ratings of one unseen user              `fold_in` of the user, but that items are solved again too
        ratings of unseen users and items       after the sweep: users exactly what their ratings, old and new, give with the
                                                items as they are then; items exactly what theirs give with the users as they were
                                                before their last solve
        a changed rating                        as if the old one had never been there, of the user and of the item
        features of rows                        those rows solved again with them
        ``refine=n``                            n more sweeps, items and then users, over the rows touched (with
                                                ``refine_rows="all"``: over all rows, which for many n is a fit from here with the
                                                mean and what prior means were learned fixed)
        all other rows                          as before, to the last bit
        ====================================== ==============================================================================

        Parameters
        ----------
        R, y, sample_weight
            Ratings as `fit` takes them: those that are new or have changed alone. None where only features came. Of a sparse
            matrix the rows and columns that have ratings count. A model with `time` needs times, too; the offsets of users who
            are solved again are solved with them, and their variance stays as in the fit.
        refine : int, default=0
            So many sweeps more.
        refine_rows : {"touched", "all"}, default="touched"
            What these sweeps are over.
        user_features, item_features : as for `fit`, default=None
            Features of unseen rows, or changed ones, of the kind the model was fitted with. Of `FactorALS` and `BayesALS`. Rows of
            an array are ids 0 to n - 1.

        Returns
        -------
        self
            Changed all at once: an error or an interruption leaves it as it was. A model that was not fitted is fitted.

        Raises
        ------
        TypeError, ValueError
            For ratings and features that cannot be used, as `fit` raises them; if the model was saved without the values of its
            ratings.
        numpy.linalg.LinAlgError
            Where a row has no unique solution, which needs a regularisation of 0.

        See Also
        --------
        fold_in : The same for new rows of one side, in a copy; it leaves the other side as it is.

        Examples
        --------
        >>> from alsx import FactorALS
        >>> R = [("ann", 7), ("bob", 7), ("ann", 3), ("cat", 3)]
        >>> model = FactorALS(k=2, random_state=0).fit(R, [4.5, 3.0, 5.0, 4.0])
        >>> model = model.partial_fit([("dan", 7), ("dan", 9), ("bob", 7)], [4.5, 5.0, 2.0])
        >>> model.user_ids_, model.item_ids_
        (array(['ann', 'bob', 'cat', 'dan'], dtype='<U3'), array([3, 7, 9]))
        >>> [part.rating for part in model.explain("bob", 3).parts if part.part == "rating"]
        [2.0]
        """
        refine = _check.integer("refine", refine, 0)
        if refine_rows not in ("touched", "all"):
            raise ValueError(f'refine_rows is {refine_rows!r}; it must be "touched" or "all"')
        if not hasattr(self, "mean_"):
            told = {"user_features": user_features, "item_features": item_features}
            self.fit(R, y, sample_weight, **{name: x for name, x in told.items() if x is not None})
            return self
        self._refuse_ordinal("more ratings are to be learned")
        if R is None and user_features is None and item_features is None:
            raise ValueError("R is None and there are no features; give ratings, features, or both")
        if not has_values(self._seen):
            raise ValueError(
                "the model was saved with with_ratings=False, so that it cannot learn more: save it with its ratings, or fold_in "
                "what comes"
            )
        state, item_counts = partial_fit(
            self._state(), R, self._values_of(R, y), sample_weight, (user_features, item_features), refine,
            refine_rows == "all", self.n_jobs, self._n_threads(),
        )  # fmt: skip
        self._set_state(state, item_counts)
        return self
