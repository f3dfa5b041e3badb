"""Titles and genres of films as MovieLens writes them, and titles as people read them.

MovieLens writes ``Matrix, The (1999)``: the article last, so that titles sort, the year of release at the end, and
other titles of the same film in parentheses between them: ``City of Lost Children, The (Cité des enfants perdus, La)
(1995)``.
"""

from __future__ import annotations

import re

# The year, alone or as the start of a range ("(2006–2007)", "(2009– )"); real files hold double closing parentheses and
# missing ones, trailing blanks, and IMDb's marks for video and television after the year.
_YEAR = re.compile(r"\s*\((\d{4})\s*(?:[-–—]\s*(?:\d{4})?\s*)?(?:\)+|$)\s*(?:\((?:V|TV)\))?\s*$")

# What MovieLens lists as the genre of a film without genres: ml-100k "unknown", the newer archives words in parentheses.
NO_GENRES = frozenset({"", "(no genres listed)", "unknown"})

# Articles that MovieLens puts last: English, French, Italian, Spanish, Portuguese, German, Dutch and Scandinavian.
# ("De" is also the French preposition of "De battre mon cœur s'est arrêté", which MovieLens moves as well.)
_ARTICLES = (
    *("The", "A", "An"),
    *("Le", "La", "Les", "L'", "L’", "Un", "Une", "De"),
    *("Il", "Lo", "I", "Gli", "Uno", "Una"),
    *("El", "Los", "Las"),
    *("O", "Os", "As", "Um", "Uma"),
    *("Der", "Die", "Das", "Den", "Ein", "Eine", "Det", "Het", "Een", "En", "Ett", "Da"),
)
_ARTICLE_LAST = re.compile(rf"(?P<rest>.*\S)\s*, (?P<article>{'|'.join(_ARTICLES)})", re.IGNORECASE | re.DOTALL)
_ALIAS = re.compile(r"(?P<mark>a\.?k\.?a\.?:? )(?P<title>.*)", re.IGNORECASE | re.DOTALL)


def split_year(text: str) -> tuple[str, int | None]:
    """Split ``"Toy Story (1995)"`` into ``("Toy Story", 1995)``.

    Parameters
    ----------
    text : str
        A title as in a MovieLens file.

    Returns
    -------
    title : str
        The title without year, blanks around it removed; the article stays where MovieLens has it.
    year : int or None
        The year of release, the first year of a range, or None where the title has no year in parentheses at its end.
    """
    text = text.strip()
    match = _YEAR.search(text)
    if match is None or match.start() == 0:
        return text, None
    return text[: match.start()].rstrip(), int(match[1])


def display_title(title: str, *, alternates: bool = True) -> str:
    """Return the title as people read it: articles first, in the title and in its alternates.

    Parameters
    ----------
    title : str
        A title without year, such as ``"Avventura, L' (Adventure, The)"``.
    alternates : bool, default=True
        Whether to keep other titles in parentheses at the end. Parentheses elsewhere belong to the title and stay.

    Returns
    -------
    str
        Such as ``"L'Avventura (The Adventure)"``.
    """
    head, others = _split_alternates(title)
    head = _article_first(head)
    if not alternates or not others:
        return head
    return " ".join([head, *(f"({_alternate(other)})" for other in others)])


def _split_alternates(title: str) -> tuple[str, list[str]]:
    """Peel balanced groups in parentheses off the end, as long as a title is left before them."""
    head, groups = title.strip(), list[str]()
    while head.endswith(")"):
        depth = 0
        for start in range(len(head) - 1, -1, -1):
            depth += (head[start] == ")") - (head[start] == "(")
            if depth == 0:
                break
        if depth or start == 0 or head[start - 1] != " " or not head[:start].strip():
            break
        groups.insert(0, head[start + 1 : -1].strip())
        head = head[:start].rstrip()
    return head, groups


def _alternate(text: str) -> str:
    """Return another title with its article first; it may begin with "a.k.a."."""
    alias = _ALIAS.fullmatch(text)
    return alias["mark"] + _article_first(alias["title"]) if alias else _article_first(text)


def _article_first(text: str) -> str:
    """Return ``"Matrix, The"`` as ``"The Matrix"``."""
    match = _ARTICLE_LAST.fullmatch(text)
    if match is None:
        return text
    article = match["article"][0].upper() + match["article"][1:]
    return article + ("" if article[-1] in "'’" else " ") + match["rest"]
