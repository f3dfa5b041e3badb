"""
The history of a fit
====================

Loss, training error and test error after each iteration, of one model or of several side by side.
"""

import matplotlib.pyplot as plt

from alsx import BiasALS, FactorALS
from alsx.datasets import load_demo
from alsx.model_selection import train_test_split
from alsx.plot import history

train, test = train_test_split(load_demo().ratings, test_size=0.1, random_state=0)
models = {
    "BiasALS": BiasALS().fit(train, eval_set=test),
    "FactorALS": FactorALS(k=20, random_state=0).fit(train, eval_set=test),
}

# %%
# Each quantity has a scale of its own. The dot, and the number beside it, is the last iteration's; a dotted line leads to the
# number of a fit that ended earlier.
fig, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
history(models, ax=axes)

# %%
# With hardly any regularisation the test error soon rises again. A ring marks where it was lowest;
# ``FactorALS(early_stopping=True)`` would keep that model.
loose = FactorALS(k=20, reg=0.05, reg_bias=0.05, tol=0, random_state=0).fit(train, eval_set=test)
fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
history(loose, ax=ax)
plt.show()
