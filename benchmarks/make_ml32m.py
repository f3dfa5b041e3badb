"""An archive with the layout and the size of MovieLens 32M, for measuring the main job without a download.

    python benchmarks/make_ml32m.py OUT.zip [--npz=FILE] [--scale=1]
    /usr/bin/time -v python -m alsx.examples.movielens --data=OUT.zip

ratings.csv, movies.csv, tags.csv and links.csv have the official columns, order, quoting and numbers of lines; titles,
genres, tags, times and links are invented. FILE.npz holds u, i (int32, from 0) and r (float32); without it the ratings
come from `alsx.datasets.make_ratings`, at --scale times the size of MovieLens 32M. The archive is as good as its shape:
times and memory can be measured with it, RMSE and recommendations say nothing of films.
"""

import io
import os
import time
import zipfile
from pathlib import Path

import fire
import numpy as np
import pyarrow as pa
from pyarrow import csv

from alsx.datasets import make_ratings

N_USERS, N_FILMS, N_RATINGS, N_TAGS = 200_948, 87_585, 32_000_204, 2_000_072
BLOCK = 2_000_000
GENRES = (
    "Drama Comedy Thriller Romance Action Documentary Horror Crime Adventure Sci-Fi Children Animation Mystery Fantasy "
    "War Western Musical Film-Noir IMAX"
)
WORDS = (
    "Silent Golden Broken Last First Hidden Crimson Distant Restless Paper Iron Winter Summer Midnight Electric Stolen "
    "River Garden Stranger Daughter Letter Harbour Mountain Promise Machine Empire Carnival Detective Señor Fenêtre "
    "Étoile Straße Señorita Journey Shadow Window Orchard Lantern Voyage Kingdom"
)


def read(npz, scale):
    """Users and films (from 0) and stars, by user and then by film."""
    if npz is None:
        root = scale**0.5
        shape = int(N_USERS * root), int(N_FILMS * root), int(N_RATINGS * scale)
        return make_ratings(*shape, k=24, random_state=0).triples()
    with np.load(npz) as stored:
        users, films, stars = stored["u"], stored["i"], stored["r"]
    order = np.lexsort((films, users))
    return users[order], films[order], stars[order]


def block(columns, **options):
    """Lines of CSV without a header."""
    text = pa.BufferOutputStream()
    csv.write_csv(pa.table(columns), text, csv.WriteOptions(include_header=False, **options))
    return memoryview(text.getvalue())


def ratings_csv(file, random, users, films, stars):
    """Lines in the official order; a user rates within some months of the first time."""
    begun = random.integers(789_652_009, 1_680_000_000, int(users.max()) + 1)
    file.write(b"userId,movieId,rating,timestamp\n")
    for start in range(0, len(users), BLOCK):
        part = slice(start, start + BLOCK)
        when = begun[users[part]] + random.integers(0, 15_000_000, len(users[part]))
        written = pa.array(stars[part]).cast(pa.decimal128(3, 1))  # 4.0, not 4
        columns = {"user": users[part] + 1, "film": films[part] + 1, "stars": written, "time": when}
        file.write(block(columns, quoting_style="none"))


def films_csv(random, n_films):
    """Titles of one to three words, some with an article at the end, some with a second title, and their genres."""
    text = io.StringIO("movieId,title,genres\n", newline="")
    text.seek(0, io.SEEK_END)
    words = random.choice(WORDS.split(), (n_films, 3))
    lengths, kinds, years = (random.integers(low, high, n_films) for low, high in ((1, 4), (0, 20), (1902, 2024)))
    names = GENRES.split()
    share = 1 / np.arange(2.0, len(names) + 2)
    for film in range(n_films):
        title = " ".join(words[film, : lengths[film]])
        if kinds[film] < 5:
            title += ", The"
        elif kinds[film] == 5:
            title += f" (Le {words[film, 2]})"
        genres = random.choice(names, 1 + film % 3, replace=False, p=share / share.sum())
        listed = "(no genres listed)" if kinds[film] == 19 else "|".join(genres)
        title = f"{title} ({years[film]})"
        text.write(f'{film + 1},"{title}",{listed}\n' if "," in title else f"{film + 1},{title},{listed}\n")
    return text.getvalue()


def main(out, npz=None, scale=1.0):
    """Write the archive."""
    start = time.perf_counter()
    random = np.random.default_rng(32)
    users, films, stars = read(npz, scale)
    n_users, n_films = int(users.max()) + 1, int(films.max()) + 1
    n_tags = int(N_TAGS * len(stars) / N_RATINGS)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("ml-32m/ratings.csv", "w", force_zip64=True) as file:
            ratings_csv(file, random, users, films, stars)
        archive.writestr("ml-32m/movies.csv", films_csv(random, n_films))
        numbers = np.arange(1, n_films + 1)
        links = [f"{film},{film:07d},{film}\n" for film in numbers]
        archive.writestr("ml-32m/links.csv", "movieId,imdbId,tmdbId\n" + "".join(links))
        words = WORDS.lower().split()
        tags = {
            "user": np.sort(random.integers(1, n_users + 1, n_tags)),
            "film": random.integers(1, n_films + 1, n_tags),
            "tag": [f"{words[n % len(words)]} {n % 997}" for n in range(n_tags)],
            "time": random.integers(1_135_000_000, 1_697_000_000, n_tags),
        }
        archive.writestr("ml-32m/tags.csv", b"userId,movieId,tag,timestamp\n" + block(tags, quoting_style="needed"))
    os.replace(part, out)
    size = out.stat().st_size / 1e6
    print(f"{out}: {len(stars):,} ratings, {n_films:,} films, {size:.0f} MB, in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    fire.Fire(main)
