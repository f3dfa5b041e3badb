"""Why a rating is predicted: `explain`."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from sklearn.utils.validation import check_is_fitted

from alsx import _check
from alsx._models import explanation
from alsx._models.explanation import Explanation
from alsx._models.frames import check_kind
from alsx._models.recommendations import Recommendations
from alsx._models.seen import has_values
from alsx.typing import FrameKind, Id


class Explanations(Recommendations):
    """Predictions taken apart."""

    @overload
    def explain(
        self, user: Id, item: Id, n: int | None = 10, as_frame: Literal[False] = False, *, timestamp: Any = None
    ) -> Explanation: ...
    @overload
    def explain(
        self, user: Id, item: Id, n: int | None = 10, *, as_frame: bool | FrameKind, timestamp: Any = None
    ) -> Any: ...
    def explain(
        self, user: Any, item: Any, n: int | None = 10, as_frame: bool | str = False, *, timestamp: Any = None
    ) -> Any:
        """Take a prediction apart, exactly: what each rating of the user contributes to it, and what his prior does.

        A user's factors and bias are the solution x = A^-1 h of a linear system, in which h is a sum over his ratings and his
        prior. With z = [q ; 1] of the item, a rating of weight w that is t above the mean and the bias of its item contributes
        z' A^-1 w t z_e, and the prior z' A^-1 s Lambda m, which is a sum over what m was learned from. The user's bias is part of
        x, so that it is part of these contributions.

        Parameters
        ----------
        user, item : id
            One user and one item.
        n : int or None, default=10
            So many ratings, and so many parts of the prior, those that contribute most; others are added up in one part each. None:
            all.
        as_frame : bool or {"pandas", "polars", "arrow"}, default=False
            Return a data frame of pandas (True), polars or pyarrow instead, with the columns ``part``, ``id``, ``name``,
            ``rating``, ``contribution`` and, after `set_titles`, ``title``.
        timestamp : int or datetime, default=None
            Of a model with `time`: when the rating is given, as `predict` takes `timestamps`. Default: on the user's average day.

        Returns
        -------
        explanation : Explanation
            ``prediction``, which is ``predict(user, item, clip=False)``, and ``parts``, a list that adds up to it: each part
            has ``part`` ("mean", "bias" of the item, "rating", "prior", "time", "missing pairs", "update"), ``id`` (of an item),
            ``name``, ``rating`` and ``contribution``. Printed, it is a table. "prior" is what is expected of the user before
            his ratings are looked at: with `implicit_features` because he rated an item at all, with features because of each
            of them. "time" is what the user's ratings of that time, or of his average day, have in common. "missing pairs" is what
            `RankALS` makes of what the user has not rated; its "mean" is what a missing rating counts as. "update" is there only
            where `partial_fit` or `fold_in` changed the user's ratings, or items that he rated, and did not solve his row again.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        ValueError
            If the user or the item is unknown; if the model was saved without the values of its ratings; if it is a `BayesALS` and
            the user was in the fit: his row is a mean of draws, which no single system solves. (Users who are folded in have one.)

        Examples
        --------
        >>> from alsx import BiasALS
        >>> model = BiasALS().fit([("ann", 7), ("bob", 7), ("ann", 3)], [4.5, 3.0, 5.0])
        >>> print(model.explain("bob", 3))
           4.230  predicted
          +4.167  mean of all ratings
          +0.223  bias of 3
          -0.160  rated 7: 3
        """
        check_is_fitted(self, "mean_")
        n = None if n is None else _check.integer("n", n, 0)
        kind = check_kind(as_frame)
        codes = []
        for side, one, argument in ((self._users, user, "user"), (self._items, item, "item")):
            if np.ndim(one) > 0:
                raise ValueError(
                    f"{argument} has {len(one)} ids; explain takes one, such as {side.ids.values[0].item()!r}"
                )
            codes.append(int(self._codes_of(side, one, argument, "raise")))
        self._refuse_ordinal("a prediction is to be taken apart")
        if not has_values(self._seen):
            raise ValueError(
                "the model was saved with with_ratings=False, so that it does not know the ratings that explain a prediction: "
                "save it with them"
            )
        if self._chain is not None and (self._users.solved_at is None or not self._users.solved_at[codes[0]]):
            raise ValueError(
                f"user: {user!r} was in the fit of a {type(self).__name__}, which keeps the mean of many draws: no single system "
                "has it as its solution. Fold the user in with his ratings, or explain with a FactorALS"
            )
        user_codes, item_codes = (np.array([code], np.int32) for code in codes)
        times = self._times_given(timestamp, 1, "timestamp")
        prediction = float(self._predict_codes(user_codes, item_codes, clip=False)[0])
        shift = None
        if times is not None and self._times is not None:
            shift = float(self._times.shifts(user_codes, times)[0])
            prediction += shift
        found = explanation.explain(
            self._users,
            self._items,
            self._seen,
            self.mean_,
            self._missing,
            prediction,
            codes[0],
            codes[1],
            self._n_threads(),
            self._times,
            shift,
        )
        found = Explanation(prediction, explanation.shortened(found.parts, n))
        return found if kind is None else found.frame(kind, self._titles)
