"""Factors: fit, test, recommend, similar films
============================================

The factor model: split, fit, test, recommend, find similar films, save and load.
"""

import tempfile
from pathlib import Path

import alsx
from alsx.datasets import load_demo
from alsx.metrics import rmse
from alsx.model_selection import train_test_split

films = load_demo()
train, test = train_test_split(films.ratings, test_size=0.1, random_state=0)

model = alsx.FactorALS(k=20, random_state=0).fit(train, eval_set=test)
print(f"test RMSE {model.history_['test_rmse'][-1]:.3f} after {model.n_iter_} iterations")

# %%
# A list for a user of the training ratings. It is not in the order of the predicted ratings alone: `recommend` also asks how likely
# somebody is to watch a film at all.

user = train.user_ids[0]
ids, _ = model.recommend(user, n=5)
print(f"for user {user}:")
for title, predicted in zip(films.titles(ids, years=True), model.predict(user, ids), strict=True):
    print(f"  {predicted:.2f}  {title}")

# %%
# Films are similar whose factors point the same way.

film = next(item for item in model.item_ids_ if films.titles([item]) == ["The Godfather"])
ids, cosines = model.similar_items(film, n=5, min_ratings=20)
print("similar to The Godfather:")
for title, cosine in zip(films.titles(ids, years=True), cosines, strict=True):
    print(f"  {cosine:.2f}  {title}")

# %%
# A file keeps the model, and predicts the same bits.

with tempfile.TemporaryDirectory() as folder:
    model.save(Path(folder, "model.npz"))
    again = alsx.load(Path(folder, "model.npz"))
assert rmse(test.triples()[2], again.predict(test)) == rmse(test.triples()[2], model.predict(test))
