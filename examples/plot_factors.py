"""
Reading the factors
===================

Factors come out of a fit in no order and turned in any way. After one rotation the first is the direction in which tastes
differ most, and the films at its two ends say what it is about.
"""

import matplotlib.pyplot as plt

from alsx import FactorALS
from alsx.datasets import load_demo
from alsx.plot import factors

films = load_demo()
model = FactorALS(k=20, random_state=0).fit(films.ratings)
ids = model.item_ids_

# %%
# The numbers are in stars: what a user one standard deviation along the direction gives a film more than one in the middle. In
# bold, genres that are more common at this end than by chance.
fig, axes = plt.subplots(3, 1, figsize=(9, 5), layout="constrained")
factors(model, films.titles(ids, alternates=False), films.genres_of(ids), ax=axes)
plt.show()
