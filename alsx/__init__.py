"""alsx: explicit ratings by exact alternating least squares, in stars, fast.

>>> import alsx
>>> model = alsx.FactorALS(k=20).fit(R)                                              # doctest: +SKIP
>>> ids, stars = model.recommend(user)                                               # doctest: +SKIP
"""

try:
    from alsx import _core  # noqa: F401
except ImportError as error:
    import pathlib as _pathlib

    _folder = _pathlib.Path(__file__).parent
    # A file that was built but cannot be loaded has reasons of its own, which the loader tells.
    if (_folder / "_core.pyx").exists() and not [*_folder.glob("_core*.so"), *_folder.glob("_core*.pyd")]:
        raise ImportError(
            f"alsx is being imported from its source folder, {_folder}, where its compiled part (alsx._core) has not been "
            "built. Either build it in place with `pip install -e .` from the project's root, or, if alsx is installed, "
            "start Python from another folder (or with `python -P`)."
        ) from error
    raise

from alsx._models.bayes import BayesALS
from alsx._models.bias import BiasALS
from alsx._models.factor import FactorALS
from alsx._models.recommender import load
from alsx._version import __version__
from alsx.ratings import Ratings

__all__ = ["BayesALS", "BiasALS", "FactorALS", "Ratings", "__version__", "load"]
