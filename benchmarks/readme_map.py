"""Draw the README's picture, docs/film-map.png: the films of ml-latest-small as a map.

    python benchmarks/readme_map.py [--folder=DIR] [--out=docs/film-map.png]

DIR holds ml-latest-small.zip (or set ALSX_TEST_DATA). The model is that of `python -m alsx.examples.movielens`, fitted to 90 % of
the ratings; 256 colours keep the file small. Pillow, which matplotlib brings, writes it.
"""

import io
import os
from pathlib import Path

import fire
from PIL import Image

import alsx
from alsx.datasets import load_movielens
from alsx.model_selection import train_test_split
from alsx.plot import embedding_map

N_FILMS = 600  # what can be told apart at the width of a README


def main(folder=None, out=Path(__file__).parent.parent / "docs" / "film-map.png"):
    """Draw the map."""
    folder = folder or os.environ.get("ALSX_TEST_DATA")
    if not folder:
        raise SystemExit("name the folder of the archive: --folder=DIR, or ALSX_TEST_DATA")
    films = load_movielens(Path(folder, "ml-latest-small.zip"))
    train, _ = train_test_split(films.ratings, 0.1, random_state=0)
    model = alsx.FactorALS(k=20, max_iter=20, random_state=0).fit(train)
    ids = model.item_ids_
    ax = embedding_map(
        model,
        films.titles(ids, alternates=False),
        films.genres_of(ids),
        max_items=N_FILMS,
        source="MovieLens ml-latest-small",
    )
    png = io.BytesIO()
    ax.figure.savefig(png, format="png")
    picture = Image.open(png).convert("RGB")
    palette = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=3)
    few = picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)  # no steps in the tints
    few.save(out, optimize=True)
    print(f"{out}: {Path(out).stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    fire.Fire(main)
