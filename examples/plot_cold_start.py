"""
New users, rating by rating
===========================

How well users who came after the fit are predicted when none, one, two ... of their ratings are known. Each is folded in by
one row solve; nothing is fitted again.
"""

import matplotlib.pyplot as plt

from alsx import BiasALS, FactorALS
from alsx.datasets import load_demo
from alsx.model_selection import cold_start, train_test_split
from alsx.plot import cold_start as draw_cold_start

train, new = train_test_split(load_demo().ratings, test_size=0.2, by="cold_users", random_state=0)
models = {
    "BiasALS": BiasALS().fit(train),
    "FactorALS": FactorALS(k=20, random_state=0).fit(train),
    "without rated sets": FactorALS(k=20, implicit_features="item", random_state=0).fit(train),
}
measured = cold_start(models, new)

# %%
# The same ratings are predicted at every step. Which films somebody has rated says much about users like those in training,
# who have many ratings; of one who has few it says little yet, so that biases alone are ahead at first.
fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
draw_cold_start(measured, ax=ax)
plt.show()
