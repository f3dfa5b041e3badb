"""
Are the intervals true?
=======================

A model says how sure it is: ``predict(..., return_std=True)`` and ``predict_interval``. On ratings that it has not seen,
90 % intervals should hold 90 % of the ratings, and errors should be large where large ones are expected.
"""

import matplotlib.pyplot as plt

from alsx import BiasALS, FactorALS
from alsx.datasets import load_demo
from alsx.model_selection import train_test_split
from alsx.plot import reliability

train, test = train_test_split(load_demo().ratings, test_size=0.1, random_state=0)
models = {"BiasALS": BiasALS().fit(train), "FactorALS": FactorALS(k=20, random_state=0).fit(train)}

# %%
# Both panels lie on the diagonal where uncertainties are true. The wider the right one, the more they tell apart.
fig, axes = plt.subplots(1, 2, figsize=(9, 4.6), layout="constrained")
reliability(models, test, ax=axes)
plt.show()
