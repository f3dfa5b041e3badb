"""How good predictions and recommendations are.

`evaluate` asks a model for predictions and lists and returns all measures at once; `ranking_scores` does so for lists that are
there already, from whatever library they come. `rmse`, `mae`, `precision_at_n`, `recall_at_n` and `ndcg_at_n` are single ones.

Definitions of the measures of lists, of one user: the list has items at the ranks p = 1, 2, ...; R of all items are relevant to
him, h(p) of them are among the first p of the list; rel(p) is 1 where the item at rank p is relevant, else 0.

=================  =================================================================================================================
``precision@n``    h(n) / n, also where R or the list is shorter than n
``recall@n``       h(n) / R; with R above n it cannot reach 1
``f1@n``           2 h(n) / (n + R), the harmonic mean of both
``hit_rate@n``     1 where h(n) > 0, else 0
``ndcg@n``         sum_p<=n rel(p) / log2(p + 1), over the same of a list that begins with min(R, n) relevant items
``graded_ndcg@n``  the same with gains g instead of rel: sum_p<=n g(p) / log2(p + 1), over that of the items by descending gain
``map@n``          average precision: sum_p<=n rel(p) h(p) / p, over R (as trec_eval's ``map_cut``; others divide by min(R, n))
``mrr@n``          reciprocal rank: 1 / p of the first relevant item, 0 where none is among the first n
``r_precision``    h(R) / R
``auc``            share of the pairs (relevant item, other item of the list) in which the relevant one is before the other; a
                   relevant item that is not in the list counts as behind all of it. The list must be the whole ranking
``novelty@n``      mean self-information -log2(c / N) of the first n items, in bits: c of N training users have rated the item (at
                   least 1 is taken)
``diversity@n``    mean over the pairs of the first n items of 1 - cosine of their vectors (an item without a vector has cosine 0)
``coverage@n``     share of the training items that are among the first n of at least one list
``gini@n``         Gini index of how often the training items are among the first n: sum_i (2 i - I - 1) x_i / ((I - 1) sum x),
                   x_i the ascending counts of the I items. 0: all equally often; 1: always the same one
=================  =================================================================================================================

All but the last two are means over users (`Score`): those of relevance over the users that have relevant items, novelty over
those whose list holds an item and diversity over those whose list holds two.

References
----------
K. Järvelin, J. Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM Transactions on Information Systems 20, 2002,
pages 422-446 (NDCG). C. D. Manning, P. Raghavan, H. Schütze, "Introduction to information retrieval", 2008, chapter 8 (MAP,
R-precision). T. Zhou, Z. Kuscsik, J.-G. Liu, M. Medo, J. R. Wakeling, Y.-C. Zhang, "Solving the apparent diversity-accuracy dilemma
of recommender systems", PNAS 107, 2010, pages 4511-4515 (novelty as self-information). B. Smyth, P. McClave, "Similarity vs.
diversity", ICCBR 2001, pages 347-361. G. Shani, A. Gunawardana, "Evaluating recommendation systems", in: Recommender systems
handbook, 2011, pages 257-297 (coverage and Gini index).
"""

from alsx.metrics._errors import mae, rmse
from alsx.metrics._evaluate import evaluate
from alsx.metrics._lists import (
    Score,
    ndcg_at_n,
    precision_at_n,
    ranking_scores,
    recall_at_n,
)
from alsx.metrics._relevance import relevant_items

__all__ = [
    "Score",
    "evaluate",
    "mae",
    "ndcg_at_n",
    "precision_at_n",
    "ranking_scores",
    "recall_at_n",
    "relevant_items",
    "rmse",
]
