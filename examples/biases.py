"""Biases: who is generous, and what everybody likes
=================================================

The bias-only model: a mean, how generous each user is, how well liked each film is.
"""

import numpy as np

from alsx import BiasALS
from alsx.datasets import load_demo

films = load_demo()
model = BiasALS().fit(films.ratings)

print(
    f"mean rating {model.mean_:.2f}, train RMSE {model.history_['train_rmse'][-1]:.3f} after {model.n_iter_} iterations"
)
print(
    f"the most generous user gives {model.user_biases_.max():+.2f} stars, the harshest {model.user_biases_.min():+.2f}"
)

# %%
# What is liked by everybody, whoever rates it: the five highest biases of films.

best = np.argsort(-model.item_biases_)[:5]
for title, bias in zip(films.titles(model.item_ids_[best]), model.item_biases_[best], strict=True):
    print(f"{bias:+.2f}  {title}")
