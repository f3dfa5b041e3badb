"""
A map of films
==============

Films that the same people like lie together. The place of a film is that of its factors, brought onto a plane so that
neighbours stay neighbours; nothing but nearness has a meaning.
"""

import matplotlib.pyplot as plt

from alsx import FactorALS
from alsx.datasets import load_demo
from alsx.plot import embed, embedding_map

films = load_demo()  # real films, simulated ratings
model = FactorALS(k=20, random_state=0).fit(films.ratings)
ids = model.item_ids_
titles, genres = films.titles(ids, alternates=False), films.genres_of(ids)

# %%
# Titles and genres are yours to give, in the order of ``model.item_ids_``. A genre has the same colour on every map, and a
# place is tinted where a genre is more common than chance would make it.
fig, ax = plt.subplots(figsize=(8, 6.2), layout="constrained")
embedding_map(model, titles, genres, min_ratings=50, source="the demo set, simulated ratings", ax=ax)

# %%
# What is recommended to somebody can be pointed out. The positions of the first map are used again, so that the second is
# the same map.
positions = embed(model.item_factors_)
user = model.user_ids_[0]
recommended, _ = model.recommend(user, n=5)
fig, ax = plt.subplots(figsize=(8, 6.2), layout="constrained")
embedding_map(
    model,
    titles,
    genres,
    min_ratings=50,
    positions=positions,
    highlight=recommended,
    n_labels=15,
    title=f"Recommended to user {user}",
    ax=ax,
)
plt.show()
