"""
What the ratings look like
==========================

Which ratings are given how often, and how unevenly they are spread over items: the first things to know of a data set.
"""

import matplotlib.pyplot as plt

from alsx.datasets import load_demo
from alsx.plot import popularity, rating_distribution

films = load_demo()
fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
rating_distribution(films.ratings, ax=ax)

# %%
# Few items have most of the ratings. What a model says of the others rests on little, as
# :ref:`sphx_glr_gallery_plot_errors.py` shows.
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
popularity(films.ratings, noun="films", ax=axes[0])
popularity(films.ratings, by="user", ax=axes[1])
plt.show()
