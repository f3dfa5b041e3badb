"""
Why this prediction?
====================

A prediction taken apart, exactly: the mean of all ratings, the film's bias, each rating of the user, and what was expected of
the user because of which films were rated.
"""

import matplotlib.pyplot as plt

from alsx import FactorALS
from alsx.datasets import load_demo
from alsx.plot import explanation

films = load_demo()
model = FactorALS(k=20, random_state=0).fit(films.ratings)
user = model.user_ids_[0]
recommended, _ = model.recommend(user, n=1)
explained = model.explain(user, recommended[0], n=6)
print(explained)

# %%
# Each bar begins where the last one ends, so that the last one ends at the prediction.
titles = dict(zip(model.item_ids_.tolist(), films.titles(model.item_ids_, years=True), strict=True))
fig, ax = plt.subplots(figsize=(8, 5), layout="constrained")
explanation(explained, titles=titles, ax=ax)
plt.show()
