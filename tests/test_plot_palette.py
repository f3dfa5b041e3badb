"""The colours of genres: the same everywhere, told apart by every reader."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alsx.plot import GENRE_COLOURS, genre_colours
from alsx.plot._palette import N_FAR_APART, OTHER_COLOUR

# Machado, Oliveira, Fernandes (2009), severity 1: what a reader without one kind of cones sees, in linear RGB.
EYES = {
    "common": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1.0, 1.089])


def seen(colour, eye="common"):
    """CIELAB of an sRGB colour as this reader sees it."""
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(EYES[eye] @ linear, 0, 1) / WHITE
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one, two):
    """CIEDE2000 (Sharma, Wu, Dalal, 2005), in the order of their formulas."""
    mean_chroma = (np.hypot(*one[1:]) + np.hypot(*two[1:])) / 2
    g = 0.5 * (1 - np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7)))
    a, b = np.array([one[1], two[1]]) * (1 + g), np.array([one[2], two[2]])
    chroma, hue = np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360
    turn = (hue[1] - hue[0] + 180) % 360 - 180 if chroma.all() else 0.0
    dl, dc = two[0] - one[0], chroma[1] - chroma[0]
    dh = 2 * np.sqrt(chroma.prod()) * np.sin(np.radians(turn / 2))
    light, c = (one[0] + two[0]) / 2, chroma.mean()
    h = (hue[0] + turn / 2) % 360 if chroma.all() else hue.sum()
    cos = lambda x: np.cos(np.radians(x))  # noqa: E731
    t = 1 - 0.17 * cos(h - 30) + 0.24 * cos(2 * h) + 0.32 * cos(3 * h + 6) - 0.2 * cos(4 * h - 63)
    sl = 1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)
    sc, sh = 1 + 0.045 * c, 1 + 0.015 * c * t
    rt = -np.sin(np.radians(60 * np.exp(-(((h - 275) / 25) ** 2)))) * 2 * np.sqrt(c**7 / (c**7 + 25.0**7))
    return np.sqrt((dl / sl) ** 2 + (dc / sc) ** 2 + (dh / sh) ** 2 + rt * (dc / sc) * (dh / sh))


def test_the_distance_is_ciede2000():
    # Pairs 1, 7, 13 and 25 of the authors' test data.
    for one, two, expected in [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
        ((50.0, -0.001, 2.49), (50.0, 0.0011, -2.49), 4.7461),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ]:
        assert distance(np.array(one), np.array(two)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("eye", "all_apart", "most_apart"), [
    ("common", 13, 17), ("deuteranopia", 8, 10), ("protanopia", 8, 10), ("tritanopia", 6, 10)
])  # fmt: skip
def test_colours_are_told_apart_by_all_readers(eye, all_apart, most_apart):
    colours = [*GENRE_COLOURS.values()]
    apart = [distance(seen(a, eye), seen(b, eye)) for a, b in combinations([*colours, OTHER_COLOUR], 2)]
    assert min(apart) >= all_apart  # 1 is just noticed
    apart = [distance(seen(a, eye), seen(b, eye)) for a, b in combinations(colours[:N_FAR_APART], 2)]
    assert min(apart) >= most_apart


# Genres that films share most often, and that therefore lie side by side on maps.
SIDE_BY_SIDE = [
    ("Comedy", "Romance"), ("Drama", "Romance"), ("Children", "Animation"), ("Sci-Fi", "Adventure"), ("Action", "Sci-Fi"),
    ("Thriller", "Crime"), ("Horror", "Sci-Fi"), ("Horror", "Thriller"), ("Fantasy", "Adventure"), ("Crime", "Film-Noir"),
    ("Mystery", "Film-Noir"), ("Mystery", "Crime"), ("Drama", "War"), ("Comedy", "Children"), ("Comedy", "Drama"),
]  # fmt: skip


@pytest.mark.parametrize("eye", list(EYES))
def test_neighbours_on_maps_are_told_apart_by_a_glance(eye):
    least = 10 if eye == "tritanopia" else 14  # which one in ten thousand has
    for a, b in SIDE_BY_SIDE:
        assert distance(seen(GENRE_COLOURS[a], eye), seen(GENRE_COLOURS[b], eye)) >= least - 0.5, (a, b)


def test_every_colour_shows_on_white():
    for colour in GENRE_COLOURS.values():
        assert distance(seen(colour), seen("#FFFFFF")) > 15


@given(st.lists(st.sampled_from([*GENRE_COLOURS, "Poetry", "Sport", "Biography"]), max_size=21))
def test_a_genre_has_its_colour_in_any_company(genres):
    colours = genre_colours(genres)
    for genre in set(genres) & set(GENRE_COLOURS):
        assert colours[genre] == GENRE_COLOURS[genre]
    assert list(colours) == [*dict.fromkeys(genres), "other"]
    if len(set(genres)) <= len(GENRE_COLOURS):
        assert len(set(colours.values())) == len(colours)


def test_second_names_have_the_colour_of_the_first():
    for one, two in [("Children", "Children's"), ("Sci-Fi", "Science Fiction"), ("Film-Noir", "film noir")]:
        assert genre_colours([two])[two] == GENRE_COLOURS[one]
    both = genre_colours(["Family", "Children"])
    assert both["Family"] != both["Children"]


@given(st.lists(st.text(min_size=1) | st.sampled_from(["Children", "kids", "Family"]), unique=True, max_size=30))
def test_any_names_have_colours_that_do_not_depend_on_their_order(names):
    names = [name for name in names if name != "other"]
    colours = genre_colours(names)
    again = genre_colours(sorted(names))
    assert set(colours) == {*names, "other"}
    assert again == colours
    if len(names) <= len(GENRE_COLOURS):
        assert len(set(colours.values())) == len(names) + 1
