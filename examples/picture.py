"""The films as a map
==================

The films' vectors as a map: films that the same people like lie together. Writes map.png, or the file that is named.
"""

import sys

from alsx import FactorALS
from alsx.datasets import load_demo
from alsx.plot import embedding_map

films = load_demo()
model = FactorALS(k=20, random_state=0).fit(films.ratings)

ids = model.item_ids_
axes = embedding_map(model, films.titles(ids), films.genres_of(ids), min_ratings=50, source="the demo set, simulated")
target = sys.argv[1] if len(sys.argv) > 1 else "map.png"
axes.figure.savefig(target)
print(f"wrote {target}")
