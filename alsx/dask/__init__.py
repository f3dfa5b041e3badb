"""Fits on a Dask cluster, for ratings and tables that one machine does not hold: the same bits as the local fit.

Needs Dask: ``pip install alsx[dask]``. Which data need a cluster, and what it takes, is in the documentation ("On a cluster").
"""

try:
    import dask as _dask
    import distributed as _distributed
except ImportError as error:
    raise ImportError(
        "alsx.dask needs dask and distributed, which are not installed: pip install alsx[dask]", name=error.name
    ) from error

from alsx.dask._cluster import ClusterError
from alsx.dask._estimators import DaskBiasALS, DaskFactorALS

del _dask, _distributed

__all__ = ["ClusterError", "DaskBiasALS", "DaskFactorALS"]
