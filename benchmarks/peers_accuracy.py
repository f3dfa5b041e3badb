"""Test RMSE and MAE of a peer on a saved split, one JSON line; accuracy.py and its kin call this.

    python peers_accuracy.py TRAIN.npz TEST.npz PEER K [--features=X.npz] [--seed=0] [--threads=1] [--NAME=VALUE ...]
    python peers_accuracy.py TRAIN.npz - PEER K --tune [--features=X.npz]

runs in an environment of the peers' own (pip install cmfrec lenskit scikit-surprise myfm smurff skrecsys, with Python 3.12.5 or
later). TRAIN and TEST hold u, i (int32 codes) and r (float32); X.npz holds X, a dense row of features for every code of
the side that has cold rows. NAME=VALUE replaces one value of the peer's setting below. --tune prints the RMSE of every setting
of the peer's grid on an inner split of TRAIN, best first: a tenth of the ratings or, for the cold peers, a sixth of the rows
whole, three times over; --NAME=[1,2] replaces what the grid tries. Settings below were chosen so on MovieLens 100k, u1.base
(cold: without the first sixth of the films, or of the users), at k = 20 (cold: 10); none has seen its own test part.

Predictions are clipped to the range of the training ratings. Pairs with an unknown user or item get what the peer gives them, and
the mean of the training ratings where it gives nothing. The seconds are those of
the fit (SMURFF's fit is part of its predictions).
"""

import itertools
import json
import os
import sys
import time
from importlib.metadata import version

OPTIONS = {}
for word in sys.argv[5:]:
    name, _, value = word.lstrip("-").partition("=")
    OPTIONS[name.replace("-", "_")] = value or True
SEED, THREADS = int(OPTIONS.pop("seed", 0)), int(OPTIONS.pop("threads", 1))
os.environ.update(OPENBLAS_NUM_THREADS="1", LK_NUM_PROCS="1")
for name in ("OMP_NUM_THREADS", "LK_NUM_THREADS", "LK_NUM_BACKEND_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = str(THREADS)

import numpy as np  # noqa: E402
import scipy.sparse as sp  # noqa: E402


def one_hot(codes, n):
    return sp.csr_matrix((np.ones(len(codes)), codes, np.arange(len(codes) + 1)), shape=(len(codes), n))


# Each peer: function(train, shape, k, setting, X) -> predict(u, i). What it needs besides the fit is done when predicting.


def surprise(kind):
    def fit(train, shape, k, setting, X):
        import pandas as pd
        import surprise as s

        u, i, r = train
        ranks = {} if kind == "BaselineOnly" else {"n_factors": k, "random_state": SEED}
        if kind == "BaselineOnly":
            setting = {"bsl_options": setting, "verbose": False}
        reader = s.Reader(rating_scale=(float(r.min()), float(r.max())))
        data = s.Dataset.load_from_df(pd.DataFrame({"u": u, "i": i, "r": r}), reader).build_full_trainset()
        yield
        model = getattr(s, kind)(**ranks, **setting).fit(data)
        yield lambda u, i: np.array([model.predict(a, b).est for a, b in zip(u.tolist(), i.tolist(), strict=True)])

    return fit


def cmfrec(side):
    """Collective matrix factorisation, exact solves; `side` (None, "item", "user") names the side that has features."""

    def fit(train, shape, k, setting, X):
        from cmfrec import CMF

        u, i, r = train
        setting = dict(setting)
        # lambda_ = bias of users, of items, A, B, C, D; one value is tuned, and how much of it the biases get.
        lam = setting.pop("lambda_")
        share = setting.pop("bias_share", 1.0)
        model = CMF(
            k=k,
            lambda_=np.array([lam * share] * 2 + [lam] * 4),
            method="als",
            use_cg=False,
            random_state=SEED + 1,
            nthreads=THREADS,
            verbose=False,
            **setting,
        )
        # Rows without a training rating are left out of the fit, so that they are new to the model when it predicts them.
        codes, position = {}, {}
        for name, column, n in (("user", u, shape[0]), ("item", i, shape[1])):
            codes[name] = np.unique(column)
            position[name] = np.full(n, -1)
            position[name][codes[name]] = np.arange(len(codes[name]))
        R = sp.coo_matrix(
            (r, (position["user"][u], position["item"][i])), shape=(len(codes["user"]), len(codes["item"]))
        )
        known = {} if side is None else {"U" if side == "user" else "I": X[codes[side]]}
        yield
        model.fit(R, **known)

        def predict(u, i):
            a, b = position["user"][u], position["item"][i]
            out = model.predict(a, b).astype(np.float64)  # a new row: the mean and the bias of the other side
            if side == "item" and (new := (a >= 0) & (b < 0)).any():
                out[new] = model.predict_new(a[new], I=X[i[new]])
            if side == "user" and (new := (a < 0) & (b >= 0)).any():
                out[new] = model.predict_cold_multiple(b[new], U=X[u[new]])
            return out

        yield predict

    return fit


def lenskit(train, shape, k, setting, X):
    """Biased matrix factorisation in LensKit's pipeline for rating prediction, whose fallback is its damped biases."""
    import pandas as pd
    from lenskit import predict as score
    from lenskit.als import BiasedMFScorer
    from lenskit.data import ItemList, from_interactions_df
    from lenskit.pipeline import predict_pipeline
    from lenskit.training import TrainingOptions

    u, i, r = train
    data = from_interactions_df(pd.DataFrame({"user_id": u, "item_id": i, "rating": r}))
    pipeline = predict_pipeline(BiasedMFScorer(features=k, **setting))
    yield
    pipeline.train(data, TrainingOptions(rng=SEED))

    def predict(u, i):
        out = np.full(len(u), np.nan)
        for user in np.unique(u):
            rows = np.flatnonzero(u == user)
            out[rows] = score(pipeline, int(user), ItemList(item_ids=i[rows])).scores()
        return out

    yield predict


def myfm(implicit):
    """Gibbs samples of a factorisation machine: one column a user, one an item and, with `implicit`, who rated what on both
    sides (SVD++ and its flipped twin; relation blocks as in myFM's documentation)."""

    def fit(train, shape, k, setting, X):
        import myfm as m

        u, i, r = train
        setting = dict(setting)
        draws = setting.pop("draws")
        kept = setting.pop("kept", draws)
        groups = list(shape)
        if implicit:
            seen = sp.csr_matrix((np.ones(len(u)), (u, i)), shape=shape)
            tables = []
            for n, rated in ((shape[0], seen), (shape[1], seen.T.tocsr())):
                scale = sp.diags(1 / np.sqrt(np.maximum(np.diff(rated.indptr), 1)))
                tables.append(sp.hstack([sp.identity(n), scale @ rated], format="csr"))
            groups = [shape[0], shape[1], shape[1], shape[0]]

            def design(u, i):
                return {"X": None, "X_rel": [m.RelationBlock(c, t) for c, t in zip((u, i), tables, strict=True)]}
        else:

            def design(u, i):
                return {"X": sp.hstack([one_hot(u, shape[0]), one_hot(i, shape[1])], format="csr")}

        model, given = m.MyFMRegressor(rank=k, random_seed=SEED, **setting), design(u, i)
        yield
        quiet = {"callback": lambda *_: (False, None)}
        model.fit(**given, y=r, n_iter=draws, n_kept_samples=kept, group_shapes=groups, **quiet)
        yield lambda u, i: model.predict(**design(u, i))

    return fit


def smurff(implicit):
    """Gibbs samples of SMURFF: BPMF, or with `implicit` Macau with row-normalised rated-item matrices of both sides."""

    def fit(train, shape, k, setting, X):
        import smurff as s

        u, i, r = train
        setting, mean = dict(setting), r.mean()
        session = s.TrainSession(
            priors=["macau" if implicit else "normal"] * 2,
            num_latent=k,
            burnin=setting.pop("burn_in"),
            nsamples=setting.pop("draws"),
            verbose=0,
            seed=SEED,
            num_threads=THREADS,
            save_freq=0,
        )
        # Its sessions of one call fix the noise at a precision of 5, far too much for ratings.
        session.setTrain(sp.coo_matrix((r - mean, (u, i)), shape=shape), s.AdaptiveNoise(), True)
        if implicit:
            seen = sp.csr_matrix((np.ones(len(u)), (u, i)), shape=shape)
            for mode, rated in enumerate((seen, seen.T.tocsr())):
                known = sp.diags(1 / np.sqrt(np.maximum(np.diff(rated.indptr), 1))) @ rated
                session.addSideInfo(mode, known.tocoo(), direct=False)
        yield

        def predict(u, i):
            # It predicts while it draws, so that the fit waits for the pairs; what they hold changes nothing.
            session.setTest(sp.coo_matrix((np.ones(len(u)), (u, i)), shape=shape))
            session.run()
            found = {tuple(x.coords): x.pred_avg for x in session.getTestPredictions()}
            return mean + np.array([found[pair] for pair in zip(u.tolist(), i.tolist(), strict=True)])

        yield predict

    return fit


def skrecsys(train, shape, k, setting, X):
    """libFM's coordinate-wise alternating least squares."""
    from skrecsys.recommendation import AlternatingLeastSquares

    u, i, r = train
    model = AlternatingLeastSquares(n_factors=k, random_state=SEED, **setting)
    yield
    model.fit(np.column_stack([u, i]), r)

    def predict(u, i):
        out = np.full(len(u), np.nan)
        known = np.isin(u, train[0]) & np.isin(i, train[1])  # it refuses others
        out[known] = model.predict(np.column_stack([u, i])[known])
        return out

    yield predict


PEERS = {
    "surprise-baseline": (surprise("BaselineOnly"), "scikit-surprise"),
    "surprise-svd": (surprise("SVD"), "scikit-surprise"),
    "surprise-svdpp": (surprise("SVDpp"), "scikit-surprise"),
    "cmfrec": (cmfrec(None), "cmfrec"),
    "cmfrec-implicit": (cmfrec(None), "cmfrec"),
    "cmfrec-cold": (cmfrec("item"), "cmfrec"),
    "cmfrec-cold-users": (cmfrec("user"), "cmfrec"),
    "lenskit-biasedmf": (lenskit, "lenskit"),
    "myfm": (myfm(False), "myfm"),
    "myfm-svdpp": (myfm(True), "myfm"),
    "smurff-bpmf": (smurff(False), "smurff"),
    "smurff-macau": (smurff(True), "smurff"),
    "skrecsys-als": (skrecsys, "skrecsys"),
}

SETTINGS = {
    "surprise-baseline": {"method": "als", "reg_u": 5, "reg_i": 2, "n_epochs": 10},
    "surprise-svd": {"n_epochs": 100, "lr_all": 0.005, "reg_all": 0.12},
    "surprise-svdpp": {"n_epochs": 60, "lr_all": 0.007, "reg_all": 0.1},
    "cmfrec": {"lambda_": 16.0, "bias_share": 0.2, "niter": 10, "scale_lam": False},
    "cmfrec-implicit": {
        "lambda_": 10.5,
        "bias_share": 0.2,
        "w_implicit": 2.0,
        "niter": 15,
        "scale_lam": False,
        "add_implicit_features": True,
    },
    # All weights and lambda_ scaled alike are the same objective, so w_main stays 1. A new row has no bias: without that column
    # on its side the factors, which the features predict, carry the level too.
    "cmfrec-cold": {"lambda_": 15.0, "w_main": 1.0, "w_item": 150.0, "niter": 15, "item_bias": False},
    "cmfrec-cold-users": {"lambda_": 2.0, "w_main": 1.0, "w_user": 0.5, "niter": 15, "user_bias": False},
    "lenskit-biasedmf": {"regularization": 0.135, "epochs": 20, "damping": 5.0},
    # Nothing to tune: as in its documentation, 200 draws, all kept.
    "myfm": {"draws": 200},
    "myfm-svdpp": {"draws": 200},
    "smurff-bpmf": {"burn_in": 50, "draws": 200},
    "smurff-macau": {"burn_in": 50, "draws": 200},
    "skrecsys-als": {"n_iter": 50, "reg_bias": 2.0, "reg_factors": 15.0},
}

# What --tune tries: the product of each, around what wider grids had found.
GRIDS = {
    "surprise-baseline": {"reg_u": [2, 5, 10], "reg_i": [0.5, 1, 2, 5]},
    "surprise-svd": {"n_epochs": [50, 100, 150], "reg_all": [0.02, 0.05, 0.08, 0.1, 0.12, 0.15]},
    "surprise-svdpp": {"n_epochs": [20, 40, 60, 80], "reg_all": [0.02, 0.05, 0.1, 0.12]},
    "cmfrec": {"lambda_": [12, 14, 16, 18], "bias_share": [0.1, 0.2, 0.3, 1], "niter": [10, 15]},
    "cmfrec-implicit": {"lambda_": [9, 10.5, 12, 15], "w_implicit": [1, 2, 3], "bias_share": [0.1, 0.2, 1]},
    "cmfrec-cold": {"lambda_": [10, 15, 20], "w_item": [100, 150, 300]},
    "cmfrec-cold-users": {"lambda_": [1, 2, 3], "w_user": [0.25, 0.5, 1]},
    "lenskit-biasedmf": {"regularization": [0.1, 0.12, 0.135, 0.15, 0.2], "damping": [2.0, 5.0, 10.0]},
    "myfm": {},
    "myfm-svdpp": {},
    "smurff-bpmf": {},
    "smurff-macau": {},
    "skrecsys-als": {"n_iter": [20, 50, 100], "reg_bias": [1, 2, 5, 10], "reg_factors": [10, 12, 15, 17.5, 20]},
}


def read(path):
    with np.load(path) as file:
        return file["u"], file["i"], file["r"].astype(np.float64)


def measure(peer, k, setting, train, test, shape, X):
    """Fit on one part, predict the other: RMSE, MAE, seconds of the fit."""
    steps = PEERS[peer][0](train, shape, k, setting, X)
    next(steps)
    start = time.perf_counter()
    predict = next(steps)
    seconds = time.perf_counter() - start
    u, i, r = test
    known = train[2]
    predicted = np.asarray(predict(u, i), dtype=np.float64)
    predicted = np.clip(np.where(np.isfinite(predicted), predicted, known.mean()), known.min(), known.max())
    return np.sqrt(np.mean((r - predicted) ** 2)), np.mean(np.abs(r - predicted)), seconds


def inner_splits(peer, train):
    """What a setting is chosen on: a tenth of the ratings or, thrice, a sixth of the items or users whole."""
    for seed in range(3 if "cold" in peer else 1):
        rng = np.random.default_rng(seed)
        if "cold" in peer:
            column = train[0 if peer.endswith("users") else 1]
            rows = rng.permutation(np.unique(column))
            held = np.isin(column, rows[: len(rows) // 6])
        else:
            held = rng.random(len(train[0])) < 0.1
        yield tuple(c[~held] for c in train), tuple(c[held] for c in train)


def parsed(value):
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value


if __name__ == "__main__":
    peer, k = sys.argv[3], int(sys.argv[4])
    tune, features = OPTIONS.pop("tune", False), OPTIONS.pop("features", None)
    train = read(sys.argv[1])
    parts = list(inner_splits(peer, train)) if tune else [(train, read(sys.argv[2]))]
    shape = tuple(max(int(part[n].max()) + 1 for part in parts[0]) for n in (0, 1))
    X = None if features is None else np.load(features)["X"].astype(np.float64)
    if "cold" in peer and X is None:
        raise SystemExit(f"{peer} needs --features=X.npz")
    given = {name: parsed(value) for name, value in OPTIONS.items()}
    lists = {name: value for name, value in given.items() if tune and isinstance(value, list)}
    base = SETTINGS[peer] | {name: value for name, value in given.items() if name not in lists}
    grid = {name: values for name, values in GRIDS[peer].items() if name not in given} | lists if tune else {}
    rows = []
    for values in itertools.product(*grid.values()):
        setting = base | dict(zip(grid, values, strict=True))
        rmse, mae, seconds = np.mean([measure(peer, k, setting, *part, shape, X) for part in parts], axis=0)
        rows.append(
            {
                "peer": peer,
                "version": version(PEERS[peer][1]),
                "setting": {"k": k, **setting},
                "rmse": round(rmse, 5),
                "mae": round(mae, 5),
                "seconds": round(seconds, 3),
            }
        )
    for row in sorted(rows, key=lambda row: row["rmse"]):
        print(json.dumps(row), flush=True)
