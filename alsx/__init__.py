"""alsx: explicit ratings by exact alternating least squares, in stars, fast.

>>> import alsx
>>> model = alsx.FactorALS(k=20).fit(R)                                              # doctest: +SKIP
>>> ids, scores = model.recommend(user)                                               # doctest: +SKIP
"""

import importlib as _importlib
import typing as _typing

from alsx import _interrupt  # noqa: F401, before all that takes time to import

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
from alsx._models.encoder import FactorEncoder
from alsx._models.factor import FactorALS
from alsx._models.rank import RankALS
from alsx._models.recommender import load
from alsx._version import __version__
from alsx.ratings import Ratings

# Modules that cost time to import: they are there when they are asked for.
_LAZY = ("dask", "datasets", "explorer", "metrics", "model_selection", "plot", "ratings", "typing")

if _typing.TYPE_CHECKING:  # so that type checkers know the modules, and still find names that do not exist
    from alsx import dask as dask
    from alsx import datasets as datasets
    from alsx import explorer as explorer
    from alsx import metrics as metrics
    from alsx import model_selection as model_selection
    from alsx import plot as plot
    from alsx import ratings as ratings
    from alsx import typing as typing
else:

    def __getattr__(name: str) -> _typing.Any:
        """Import a public module at its first use, so that ``import alsx`` is enough for ``alsx.datasets.load_demo()``."""
        if name in _LAZY:
            return _importlib.import_module(f"alsx.{name}")
        raise AttributeError(f"module 'alsx' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, those of modules that are not imported yet among them."""
    return sorted({*globals(), *_LAZY})


__all__ = ["BayesALS", "BiasALS", "FactorALS", "FactorEncoder", "RankALS", "Ratings", "__version__", "load"]
