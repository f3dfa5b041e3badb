"""
Errors against the number of ratings
====================================

How well a rating is predicted depends on how much is known of its item and of its user.
"""

import matplotlib.pyplot as plt

from alsx import BiasALS, FactorALS
from alsx.datasets import load_demo
from alsx.model_selection import train_test_split
from alsx.plot import errors_by_count

train, test = train_test_split(load_demo().ratings, test_size=0.1, random_state=0)
models = {"BiasALS": BiasALS().fit(train), "FactorALS": FactorALS(k=20, random_state=0).fit(train)}

# %%
# The second line below the axis says how many test ratings a class has; bars are two standard errors.
fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
errors_by_count(models, test, by="item", ax=ax)

# %%
# The same by users.
fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
errors_by_count(models, test, by="user", ax=ax)
plt.show()
