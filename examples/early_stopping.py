"""A fit that is followed, and ends early
======================================

A fit that is followed, ends where it no longer helps, and goes on from there; and scikit-learn's tools around models.
"""

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline

from alsx import FactorALS, FactorEncoder
from alsx.datasets import load_demo
from alsx.model_selection import train_test_split

train, test = train_test_split(load_demo().ratings, test_size=0.1, random_state=0)


def follow(iteration):
    """Print an iteration; to return True would end the fit."""
    print(f"  {iteration.number:2}: train RMSE {iteration.train_rmse:.4f}, test RMSE {iteration.test_rmse:.4f}")


# Hardly any regularisation, so that the test error soon rises again; tol=0, so that nothing else ends the fit.
model = FactorALS(k=20, reg=0.05, reg_bias=0.05, tol=0, early_stopping=True, callback=follow, random_state=0)
model.fit(train, eval_set=test)
print(f"stopped after {model.n_iter_} iterations; the model is that of iteration {model.best_iter_}")

# %%
# With the default regularisation, from where that one came to.

model.set_params(reg=None, reg_bias=None, callback=None, warm_start=True).fit(train, eval_set=test)
print(f"regularised: test RMSE {min(model.history_['test_rmse']):.4f} after {model.n_iter_} iterations more")


# %%
# For scikit-learn a model is a regressor whose samples are pairs of ids. They are sorted by user, so that folds must be shuffled.


def pairs(ratings):
    """Return ratings as scikit-learn knows samples: pairs of ids, and what is to be predicted."""
    users, items, values = ratings.triples()
    return np.column_stack([ratings.user_ids[users], ratings.item_ids[items]]), values


X, y = pairs(train)
search = GridSearchCV(FactorALS(random_state=0), {"k": [5, 20]}, cv=KFold(3, shuffle=True, random_state=0)).fit(X, y)
print(f"best of a grid: {search.best_params_}, R^2 {search.best_score_:.3f}")

# %%
# Ids become factors, beside whatever else another model may learn from.

pipeline = make_pipeline(FactorEncoder(with_prediction=True, random_state=0), Ridge()).fit(X, y)
names = pipeline[:-1].get_feature_names_out()
print(f"{len(names)} features of a pair, {names[0]} to {names[-1]}; R^2 of the test {pipeline.score(*pairs(test)):.3f}")
