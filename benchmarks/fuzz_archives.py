"""Mutated MovieLens archives: each is read, or refused with one short line that names it.

    python benchmarks/fuzz_archives.py [--seconds=600] [--seed=0] [--keep=FOLDER]

Sound archives of every layout and method of compression, those of tests/test_datasets_movielens.py, get some bits flipped,
bytes cut out, doubled or replaced: in the .zip itself, or in one of the texts in it. Printed is how many were tried, read and
refused, and what went wrong otherwise; FOLDER gets those archives. The tests do the same for a second.
"""

import random
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import fire

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import test_datasets_movielens as sound

LAYOUTS = (sound.files_100k, sound.files_1m, sound.files_10m, sound.files_csv)
# What is special in numbers, in CSV and in the other layouts.
PIECES = (
    *(b",", b"::", b"|", b"\t", b'"', b"\n", b"\r", b" ", b"\0", b"\xff", b"\xef\xbb\xbf"),
    *(b"-1", b"nan", b"1e999", b"0x1", b"2147483648", b"9" * 30),
)


def mutate(generator, raw):
    """Change some places of a bytearray."""
    for _ in range(generator.randint(1, 4)):
        at, kind = generator.randrange(len(raw) + 1), generator.random()
        if kind < 0.4 and at < len(raw):
            raw[at] ^= 1 << generator.randrange(8)
        elif kind < 0.7:
            raw[at : at + generator.randint(0, 10)] = generator.choice(PIECES)
        elif kind < 0.8:
            del raw[at : at + generator.randint(0, 200)]
        elif kind < 0.9:
            raw[at:at] = raw[at : at + generator.randint(0, 100)]
        else:
            raw[at : at + generator.randint(0, 20)] = generator.randbytes(generator.randint(0, 20))


def write_mutated(generator, path):
    """Write an archive that is mutated as a .zip, or in one of its texts."""
    files = generator.choice(LAYOUTS)()
    if generator.random() < 0.5:
        text = bytearray(files[name := generator.choice(sorted(files))])
        mutate(generator, text)
        sound.write_zip(path, files | {name: bytes(text)}, method=zipfile.ZIP_STORED)
    else:
        raw = bytearray(sound.write_zip(path, files, method=generator.choice(sound.METHODS)).read_bytes())
        mutate(generator, raw)
        path.write_bytes(raw)


def main(seconds=600.0, seed=0, keep=None):
    """Try for so many seconds."""
    generator, end = random.Random(seed), time.monotonic() + seconds
    counts, wrong = Counter(), Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.zip")
        while time.monotonic() < end:
            write_mutated(generator, path)
            counts["tried"] += 1
            try:
                counts["read" if sound.read_or_refused(path) else "refused"] += 1
            except Exception as error:
                counts["wrong"] += 1
                wrong[f"{type(error).__name__}: {str(error)[:200]}"] += 1
                if keep is not None:
                    Path(keep, f"{counts['wrong']}.zip").write_bytes(path.read_bytes())
    print(", ".join(f"{count:,} {what}" for what, count in counts.items()), f"in {seconds:.0f} s")
    for what, count in wrong.most_common():
        print(f"{count:8,}  {what}")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    fire.Fire(main)
