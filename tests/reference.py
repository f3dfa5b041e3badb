"""Slow, obvious float64 twins of what the compiled modules do. A test compares; nothing else uses them."""

import itertools
import math
import re

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

# Rows with fewer ratings are regularised as if they had so many.
MIN_EFFECTIVE_COUNT = 30.0


def row_solve(values, weights, offset, scale, others, k, ridge, ridge_bias):
    """One row: the solution [p ; b], its weighted squared error and its penalty."""
    z = np.hstack([others[:, :k], np.ones((len(others), 1))]).astype(np.float64)
    t = (np.asarray(values, np.float64) - offset) * scale - others[:, k].astype(np.float64)
    w = np.ones(len(t)) if weights is None else np.asarray(weights, np.float64)
    prior = np.diag(np.append(np.full(k, float(ridge)), ridge_bias))
    x = np.linalg.solve((z.T * w) @ z + prior, z.T @ (w * t))
    return x, (w * (t - z @ x) ** 2).sum(), x @ prior @ x


def row_posterior(values, weights, offset, scale, others, k, precision, mean):
    """One row with any prior N(m, Lambda^-1): the mean A^-1 h, A, and the row's z and t."""
    z = np.hstack([others[:, :k], np.ones((len(others), 1))]).astype(np.float64)
    t = (np.asarray(values, np.float64) - offset) * scale - others[:, k].astype(np.float64)
    w = np.ones(len(t)) if weights is None else np.asarray(weights, np.float64)
    A = (z.T * w) @ z + precision
    return np.linalg.solve(A, z.T @ (w * t) + precision @ mean), A, z, t, w


def quadratic_forms(A, z):
    """z' A^-1 z for every row of z."""
    z = np.asarray(z, np.float64)
    return np.einsum("ij,ji->i", z, np.linalg.solve(A, z.T))


def packed(A):
    """The inverses of symmetric matrices A (n, K, K): rows of their lower triangles, what is left of the diagonals times 2."""
    inverse = np.linalg.inv(np.asarray(A, np.float64))
    rows, columns = np.tril_indices(A.shape[-1])
    return inverse[..., rows, columns] * np.where(rows == columns, 1, 2)


def symmetric(rows, K):
    """The symmetric matrices (n, K, K) of packed ones."""
    out = np.zeros((len(rows), K, K))
    r, c = np.tril_indices(K)
    out[:, r, c] = rows[:, : len(r)] / np.where(r == c, 1, 2)
    out[:, c, r] = out[:, r, c]
    return out


def pair_variances(C_user, C_item, z_user, z_item, sigma2):
    """What is not known of all pairs (m, n), by covariances (., K, K) over sigma^2 and vectors z = [factors ; 1]."""
    trace = np.einsum("ujj,ijj->ui", C_user[:, :-1, :-1], C_item[:, :-1, :-1])
    return sigma2 * (
        np.einsum("ij,ujk,ik->ui", z_item, C_user, z_item)
        + np.einsum("uj,ijk,uk->ui", z_user, C_item, z_user)
        + sigma2 * trace
    )


def rating_variances(u, i, tables, priors, errors, users, items, n0=20.0, left=0.05):
    """
    Noise and epistemic variance of the pairs (users, items), -1 for unknown ones, and sigma^2.

    `u`, `i` are the training pairs; `tables`, `priors` and `errors` (the squared training errors of each row) are pairs
    (users, items); a prior is (precision as a matrix, exponent of the count, cold-start vector).
    """
    n, sides = len(u), []
    for own, other, (table, others), (Lambda, exponent, _) in (
        (u, i, tables, priors[0]),
        (i, u, tables[::-1], priors[1]),
    ):
        inverse, taken = [], []
        z = np.hstack([others[:, :-1], np.ones((len(others), 1))]).astype(np.float64)
        for row in range(-1, len(table)):
            mine = z[other[own == row]]
            inverse.append(np.linalg.inv(mine.T @ mine + max(len(mine), MIN_EFFECTIVE_COUNT) ** exponent * Lambda))
            taken.append(np.trace(inverse[-1] @ mine.T @ mine))
        # The last one is that of a row without ratings.
        sides.append((np.array([*inverse[1:], inverse[0]]), np.array(taken[1:])))
    (A_user, h_user), (A_item, h_item) = sides

    def traces(one, two):
        return np.einsum("nj,nj->n", *(np.einsum("njj->nj", A)[:, :-1] for A in (one, two)))

    n_user, n_item = np.bincount(u, minlength=len(tables[0])), np.bincount(i, minlength=len(tables[1]))
    share = h_user[u] / n_user[u] + h_item[i] / n_item[i]
    second = traces(A_user[u], A_item[i])
    total, both = errors[1].sum(), min(share.mean(), 1 - left)
    discriminant = max((1 - both) ** 2 - 4 * second.mean() * total / n, 0)
    sigma2 = 2 * total / n / (1 - both + np.sqrt(discriminant))
    h = share + sigma2 * second
    a = (errors[0] / sigma2 + n0) / (np.maximum(np.bincount(u, 1 - h, len(n_user)), left * n_user) + n0)
    c = (errors[1] / sigma2 + n0) / (np.maximum(np.bincount(i, 1 - h, len(n_item)), left * n_item) + n0)
    expected = np.maximum(np.bincount(u, c[i] * (1 - h), len(n_user)), left * np.bincount(u, c[i], len(n_user)))
    a *= total / sigma2 / (a @ expected)
    noise = sigma2 * np.append(a, 1)[users] * np.append(c, 1)[items]
    z_user, z_item = (np.vstack([t, prior[2]]).astype(np.float64) for t, prior in zip(tables, priors, strict=True))
    z_user[:, -1] = z_item[:, -1] = 1
    epistemic = [
        quadratics_one(A_user[x], z_item[y]) + quadratics_one(A_item[y], z_user[x])
        for x, y in zip(users, items, strict=True)
    ]
    return noise, sigma2 * (np.array(epistemic) + sigma2 * traces(A_user[users], A_item[items])), sigma2


def quadratics_one(inverse, z):
    """z' A^-1 z from the inverse."""
    return z @ inverse @ z


def draw(A, mean, eps):
    """A draw from N(mean, A^-1) out of standard normals, by A = L' L with L lower triangular."""
    L = np.linalg.cholesky(A[::-1, ::-1]).T[::-1, ::-1]
    return mean + np.linalg.solve(L, eps)


def learned_map(features, table, row_scale, ridge):
    """W that minimises sum_rows s |x - W' f|^2 + ridge |W|^2."""
    F = np.asarray(features, np.float64)
    normal = (F.T * row_scale) @ F + ridge * np.eye(F.shape[1])
    return np.linalg.solve(normal, (F.T * row_scale) @ np.asarray(table, np.float64))


def bfloat16(x):
    """Numbers rounded to bfloat16, to the nearest, ties to even; float64 numbers stay as they are."""
    x = np.asarray(x)
    if x.dtype == np.float64:
        return x
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    low, high = bits & 0xFFFF, bits >> 16
    high += (low > 0x8000) | ((low == 0x8000) & (high % 2 == 1))
    return (high << 16).astype(np.uint32).view(np.float32)


def unpacked(words, columns):
    """The columns of a packed table of float32: blocks of 16 words, columns j and 16 + j in the halves of word j."""
    words = np.ascontiguousarray(words).view(np.uint32).reshape(len(words), -1, 1, 16)
    halves = np.concatenate([words << 16, words & 0xFFFF0000], axis=2).astype(np.uint32)
    return halves.view(np.float32).reshape(len(words), -1)[:, :columns]


def step_direction(matrix, residuals, inverse_diagonal, ridge, coefficients, last):
    """The slope, the preconditioned slope, and the five sums of products of a step, by column."""
    slope = matrix @ residuals.astype(np.float64) - ridge * coefficients
    step = inverse_diagonal[:, None] * slope
    pairs = (slope, step), (slope, last), (step, step), (step, last), (last, last)
    return slope, step, np.array([(x * y).sum(0) for x, y in pairs])


def step_change(matrix, steps, factor, last, row_scale, counts, precision, information, shared):
    """What a step does to the rows, and the three sums of products of weighed rows, by column."""
    change = factor[:, None] * (matrix @ steps.astype(np.float64))
    known = counts[:, None] * information + shared
    weight = np.zeros_like(change)
    rated = row_scale > 0
    weight[rated] = (row_scale[:, None] * known / (row_scale[:, None] * precision + known))[rated]
    return change, np.array([(weight * x * y).sum(0) for x, y in ((change, change), (change, last), (last, last))])


def solve_rows(indptr, indices, values, weights, offset, scale, table, k, reg, reg_bias, row_scale):
    """All rows of a side: solutions (n, k+1), and squared errors and penalties (n, 2)."""
    n = len(indptr) - 1
    out, loss = np.zeros((n, k + 1)), np.zeros((n, 2))
    for row in range(n):
        part = slice(indptr[row], indptr[row + 1])
        if part.start < part.stop:
            w = None if weights is None else weights[part]
            out[row], loss[row, 0], loss[row, 1] = row_solve(
                values[part], w, offset, scale, table[indices[part]], k, reg * row_scale[row], reg_bias * row_scale[row]
            )
    return out, loss


def objective(ratings, user_table, item_table, k, users, items, mean, unit):
    """The loss that both half-sweeps lower, in squared rating units; tables are in units of one standard deviation."""
    u, i, r = ratings.triples()
    w = ratings.by_user.weights
    w = np.ones(len(r)) if w is None else w.astype(np.float64)
    p, q = user_table.astype(np.float64), item_table.astype(np.float64)
    predicted = p[u, k] + q[i, k] + (p[u, :k] * q[i, :k]).sum(1)
    total = (w * ((r.astype(np.float64) - mean) / unit - predicted) ** 2).sum()
    for table, codes, (reg, reg_bias, exponent) in ((p, u, users), (q, i, items)):
        weight_sum = np.bincount(codes, w, len(table))
        s = np.where(weight_sum > 0, np.maximum(weight_sum, MIN_EFFECTIVE_COUNT) ** exponent, 0.0)
        total += (s * (reg * (table[:, :k] ** 2).sum(1) + reg_bias * table[:, k] ** 2)).sum()
    return unit**2 * total


def predict_pairs(users, items, user_table, item_table, k, mean):
    """mu + b_u + c_i + p_u . q_i, without what is unknown."""
    out = []
    for u, i in zip(users, items, strict=True):
        x = mean
        if u >= 0:
            x += float(user_table[u, k])
        if i >= 0:
            x += float(item_table[i, k])
        if u >= 0 and i >= 0:
            x += float(user_table[u, :k].astype(np.float64) @ item_table[i, :k].astype(np.float64))
        out.append(x)
    return np.array(out)


def top_n(scores, n):
    """The n best of each row of scores, ties to the earlier column; -1 and -inf where only -inf is left."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    best = np.take_along_axis(scores, order, 1)
    return np.where(np.isneginf(best), -1, order), best


def implicit_features(own, other, n_own, n_other, weights=None, prior_count=0.0):
    """Rated-item sets: the weights of ratings (1) where a row has some, over the root of their sum and `prior_count`."""
    F = np.zeros((n_own, n_other))
    F[own, other] = 1 if weights is None else weights
    total = F.sum(1)
    return F / np.sqrt(np.where(total > 0, total + prior_count, 1))[:, None]


def objective_in_ratings(u, i, r, w, mean, b, c, P, Q, reg, reg_bias, exponent, maps=((), ()), shifts=0.0):
    """
    The loss as the models document it, in rating units; `reg` and `reg_bias` are pairs (users, items).

    `maps` has for users and for items the (F, W, ridge) of what prior means are learned from, `shifts` what predictions have
    besides.
    """
    w = np.ones(len(r)) if w is None else np.asarray(w, np.float64)
    r, b, c, P, Q = (np.asarray(x, np.float64) for x in (r, b, c, P, Q))
    sd = np.sqrt(np.average((r - np.average(r, weights=w)) ** 2, weights=w))
    total = (w * (r - mean - b[u] - c[i] - (P[u] * Q[i]).sum(1) - shifts) ** 2).sum()
    for codes, bias, factors, side in ((u, b, P, 0), (i, c, Q, 1)):
        weight_sum = np.bincount(codes, w, len(bias))
        scale = np.mean(np.maximum(weight_sum[weight_sum > 0], MIN_EFFECTIVE_COUNT) ** exponent)
        for F, W, ridge in maps[side]:
            W = np.asarray(W, np.float64)
            means = F @ W
            factors, bias = factors - means[:, :-1], bias - means[:, -1]
            total += ridge * scale * (reg[side] * sd * (W[:, :-1] ** 2).sum() + reg_bias[side] * (W[:, -1] ** 2).sum())
        for row in range(len(bias)):
            weight_sum = w[codes == row].sum()
            # Without ratings a row is its prior.
            s = max(weight_sum, MIN_EFFECTIVE_COUNT) ** exponent if weight_sum > 0 else 0.0
            total += s * (reg[side] * sd * (factors[row] ** 2).sum() + reg_bias[side] * bias[row] ** 2)
    return total


def fit(u, i, r, w, start, n_users, reg, reg_bias, exponent, n_iter):
    """
    A whole fit in rating units, from `start`, the items' factors (n_items, k) in units of one standard deviation.

    A pair may come more than once. Returns the mean, [P b] (n_users, k+1) and [Q c] (n_items, k+1).
    """
    w = np.ones(len(r)) if w is None else np.asarray(w, np.float64)
    r = np.asarray(r, np.float64)
    n_items, k = start.shape
    mean = np.average(r, weights=w)
    sd = np.sqrt(np.average((r - mean) ** 2, weights=w))
    tables = [np.zeros((n_users, k + 1)), np.hstack([start * np.sqrt(sd), np.zeros((n_items, 1))])]
    for _ in range(n_iter):
        for side, (own, other) in enumerate(((u, i), (i, u))):
            for row in range(len(tables[side])):
                mine = own == row
                weight_sum = w[mine].sum()
                tables[side][row] = 0
                if weight_sum > 0:
                    s = max(weight_sum, MIN_EFFECTIVE_COUNT) ** exponent
                    tables[side][row] = row_solve(
                        r[mine], w[mine], mean, 1.0, tables[1 - side][other[mine]], k, s * reg[side] * sd,
                        s * reg_bias[side],
                    )[0]  # fmt: skip
    return mean, *tables


def time_groups(users, times, seconds):
    """Which group of each level each rating is in, as matrices of zeros and ones; groups ascend by user and period."""
    found = []
    for length in seconds:
        pairs = list(zip(users.tolist(), [math.floor(t / length) for t in times.tolist()], strict=True))
        groups = sorted(set(pairs))
        found.append(np.array([[float(pair == group) for group in groups] for pair in pairs]).reshape(-1, len(groups)))
    return found


def time_row(design, targets, weights, prior, groups, ratios):
    """
    One least-squares problem for rows and offsets of time together, by its normal equations.

    The design (n, m) and its prior (precision (m,), mean (m,)) are those of what is not an offset. Returns its solution, the
    offsets of each level, and the inverse of the normal matrix.
    """
    whole = np.hstack([design, *groups])
    sizes = [x.shape[1] for x in groups]
    precision = np.concatenate(
        [prior[0], *(np.full(n, 1 / v if v else 1e12) for n, v in zip(sizes, ratios, strict=True))]
    )
    mean = np.concatenate([prior[1], np.zeros(sum(sizes))])
    inverse = np.linalg.inv((whole.T * weights) @ whole + np.diag(precision))
    x = inverse @ (whole.T @ (weights * targets) + precision * mean)
    m = design.shape[1]
    return x[:m], np.split(x[m:], np.cumsum(sizes)[:-1]), inverse


def variance_ratios(users, times, seconds, residuals, weights):
    """Variances of nested offsets over the noise's: sums of squares between groups as expected, by projections."""
    root = np.sqrt(weights)[:, None]
    Z = [root * x for x in [np.eye(users.max() + 1)[users], *time_groups(users, times, seconds)]]
    P = [z @ np.linalg.pinv(z) for z in Z]
    y = root[:, 0] * residuals
    free = (weights > 0).sum() - np.trace(P[-1])
    noise = max(y @ y - y @ P[-1] @ y, 0) / free if free > 0.5 else 0.0
    ratios = np.zeros(len(seconds))
    for level in reversed(range(len(seconds) if noise > 0 else 0)):
        Q = P[level + 1] - P[level]
        expected = [np.trace(Q @ z @ z.T) for z in Z[1:]]
        rest = y @ Q @ y / noise - np.trace(Q) - sum(expected[x] * ratios[x] for x in range(level + 1, len(seconds)))
        ratios[level] = max(rest / expected[level], 0) if expected[level] > 1e-9 else 0
    return ratios, noise


def rank_terms(u, i, r, w, shape, value, weight):
    """
    AllRank's weights and targets of all pairs, dense: pairs of arrays (C, T) with the loss sum C (T - y)^2.

    A rating of weight w takes the place of w missing ones. Users and items without ratings (of a weight above 0) have none.
    """
    w = np.ones(len(r)) if w is None else np.asarray(w, np.float64)
    W, T = np.zeros(shape), np.zeros(shape)
    W[u, i], T[u, i] = w, r
    pairs = np.outer(W.sum(1) > 0, W.sum(0) > 0)
    return [(W, T), (weight * (1 - W) * pairs, np.full(shape, value))], W


def implicit_terms(u, i, counts, w, shape, alpha, transform):
    """The same of implicit feedback: targets 1 of the weight 1 + alpha f(count), and missing ones of 0 and weight 1."""
    w = np.ones(len(counts)) if w is None else np.asarray(w, np.float64)
    W, T = np.zeros(shape), np.zeros(shape)
    W[u, i] = (np.log1p(counts) if transform == "log" else np.asarray(counts, np.float64)) * w
    T[W > 0] = 1
    pairs = np.outer(W.sum(1) > 0, W.sum(0) > 0)
    return [((1 + alpha * W) * pairs, T)], W


def rank_penalty(tables, W, reg, reg_bias, exponent, unit, maps=((), ()), factor=1.0):
    """The penalties of a model that ranks, as `objective_in_ratings` has them; scales are powers of the sums of W."""
    total = 0.0
    for side, table in enumerate(tables):
        weight_sum = W.sum(1 - side)
        scales = np.where(weight_sum > 0, np.maximum(weight_sum, MIN_EFFECTIVE_COUNT) ** exponent, 0.0)
        Lambda = np.append(np.full(table.shape[1] - 1, reg[side] * unit), reg_bias[side])
        x = np.asarray(table, np.float64)
        for F, M, ridge in maps[side]:
            M = np.asarray(M, np.float64)
            x = x - F @ M
            total += ridge * scales[scales > 0].mean() * (M**2 @ Lambda).sum()
        total += (scales * (x**2 @ Lambda)).sum()
    return total


def rank_loss(terms, tables, mean):
    """The weighted squared errors of all pairs; tables are [P b] and [Q c] in rating units."""
    (P, b), (Q, c) = ((x[:, :-1].astype(np.float64), x[:, -1].astype(np.float64)) for x in tables)
    y = mean + b[:, None] + c + P @ Q.T
    return sum((C * (T - y) ** 2).sum() for C, T in terms)


def rank_row(terms, row, other, mean, precision):
    """The row of [P b] (or, for transposed terms, [Q c]) that minimises the loss over all pairs: A and h, pair by pair."""
    A, h = np.array(precision, np.float64), np.zeros(len(precision))
    for C, T in terms:
        for x, q in enumerate(other):
            z = np.append(q[:-1], 1.0)
            A += C[row, x] * np.outer(z, z)
            h += C[row, x] * (T[row, x] - mean - q[-1]) * z
    return A, h


def rank_fit(terms, W, start, mean, unit, reg, reg_bias, exponent, n_iter):
    """A whole fit over all pairs in rating units, from `start` as `fit` has it; returns [P b] and [Q c]."""
    n_items, k = start.shape
    tables = [np.zeros((len(W), k + 1)), np.hstack([start * np.sqrt(unit), np.zeros((n_items, 1))])]
    for _ in range(n_iter):
        for side in (0, 1):
            mine = [(C.T, T.T) for C, T in terms] if side else terms
            weight_sum = W.sum(1 - side)
            tables[side][weight_sum == 0] = 0
            for row in np.flatnonzero(weight_sum > 0):
                s = max(weight_sum[row], MIN_EFFECTIVE_COUNT) ** exponent
                Lambda = s * np.diag(np.append(np.full(k, reg[side] * unit), reg_bias[side]))
                tables[side][row] = np.linalg.solve(*rank_row(mine, row, tables[1 - side], mean, Lambda))
    return tables


def counts_of(codes, n_codes, n_parts):
    """How often each code occurs in each of n_parts contiguous parts, whose sizes differ by one at most."""
    n = len(codes)
    bounds = [n // n_parts * t + n % n_parts * t // n_parts for t in range(n_parts + 1)]
    return np.array([np.bincount(codes[a:b], minlength=n_codes) for a, b in itertools.pairwise(bounds)])


def places_of(counts):
    """Where each part writes its first entry of each key: after all smaller keys and the parts before it."""
    ends = np.cumsum(counts.T.ravel()).reshape(counts.T.shape)
    return np.ascontiguousarray((ends - counts.T).T.astype(np.int64))


def sort_by(keys, others, payload):
    """Stable sort of entries by key: the others and the payload in that order."""
    order = np.argsort(keys, kind="stable")
    return others[order], payload[order]


def transpose(indptr, indices, payload):
    """Row numbers and payload by column, ascending by row within a column."""
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    return sort_by(indices, rows, payload)


def sorted_state(users, items):
    """3 where entries ascend by user and within a user by item, 2 with repeats, 1 where by user alone, 0 where not."""
    entries = list(zip(users.tolist(), items.tolist(), strict=True))
    if entries == sorted(entries):
        return 3 if len(set(entries)) == len(entries) else 2
    return int((np.diff(users) >= 0).all())


def repeats(indptr, indices):
    """Entries whose index is that of the entry before them in the same row."""
    return sum(int((np.diff(indices[a:b]) == 0).sum()) for a, b in itertools.pairwise(indptr))


def wishart_root(scale, degrees, generator):
    """A root T of a draw T T' from Wishart(degrees, scale^-1), by Bartlett's decomposition."""
    n = len(scale)
    A = np.tril(generator.standard_normal((n, n)), -1)
    A += np.diag(np.sqrt(generator.chisquare(degrees - np.arange(n))))
    return np.linalg.inv(np.linalg.cholesky(scale)).T @ A


def normal_wishart(X, generator, shrink, degrees, precision):
    """A draw of the mean and precision of the rows of X: m | Lambda ~ N(0, (shrink Lambda)^-1), E Lambda = precision I."""
    n, width = X.shape
    center = X.sum(0) / (n + shrink)
    scale = np.eye(width) * (width + degrees) / precision + shrink * np.outer(center, center)
    for x in X:
        scale += np.outer(x - center, x - center)
    T = wishart_root(scale, width + degrees + n, generator)
    return center + np.linalg.inv(T).T @ generator.standard_normal(width) / np.sqrt(n + shrink), T @ T.T


def gibbs_sweep(ratings, mean, unit, tables, commons, alpha, normals, generator, hyper):
    """
    One sweep of the sampler without maps: rows of users, their mean and precision, the same of items, the noise.

    `commons` are (m, Lambda) of each side, `normals` the standard normals of each side's rows, `hyper` (shape, rate, shrink,
    degrees, precision).
    """
    shape, rate, *normal = hyper
    tables, commons = list(tables), list(commons)
    for side, rows in enumerate((ratings.by_user, ratings.by_item)):
        m, precision = commons[side]
        k, error = len(m) - 1, 0.0
        for row in range(len(rows.indptr) - 1):
            part = slice(rows.indptr[row], rows.indptr[row + 1])
            center, A, z, t, w = row_posterior(
                rows.values[part], None if rows.weights is None else rows.weights[part], mean, 1 / unit,
                tables[1 - side][rows.indices[part]], k, precision / alpha, m,
            )  # fmt: skip
            # The bias comes first in the kernel's triangle.
            bias_first = np.append(k, np.arange(k))
            x = np.empty(k + 1)
            eps = normals[side][row][bias_first] / np.sqrt(alpha)
            x[bias_first] = draw(A[np.ix_(bias_first, bias_first)], center[bias_first], eps)
            tables[side][row] = x
            error += (w * (t - z @ x) ** 2).sum()
        commons[side] = normal_wishart(tables[side], generator, *normal)
    n = ratings.n_ratings if ratings.by_user.weights is None else ratings.by_user.weights.sum()
    return tables, commons, generator.gamma(shape + n / 2, 1 / (rate + error / 2))


def early_stopping(errors, patience, burn_in=0):
    """How many iterations run, and which of them is best: the first that comes with the lowest error after the burn-in.

    The fit ends after `patience` iterations in a row that are no better; where no error is a number, the last one is kept.
    """
    for n in range(1, len(errors) + 1):
        after = [(errors[at], at + 1) for at in range(burn_in, n) if not np.isnan(errors[at])]
        best = min(after)[1] if after else None
        since = n - (best or burn_in)
        if n > burn_in and since >= patience:
            break
    return n, best or n


# ---------------------------------------------------------------------------------------------------------------------
# Measures of lists


def measures_of_list(row, gains, n, padding):
    """Measures of one user's list at n, from their definitions; `gains` maps relevant items to gains."""
    listed = [item for item in row if item != padding]
    first = row[:n]
    hits = [rank for rank, item in enumerate(first, 1) if item in gains]
    n_relevant = len(gains)

    def dcg(worths):
        return sum(worth / math.log2(rank + 1) for rank, worth in enumerate(worths, 1))

    def average_precision():
        return sum(sum(1 for other in hits if other <= rank) / rank for rank in hits) / n_relevant

    def auc():
        others = [item for item in listed if item not in gains]
        if not others:
            return math.nan
        right = sum(
            1 for item in gains if item in listed for other in others if listed.index(item) < listed.index(other)
        )
        return right / (n_relevant * len(others))

    precision, recall = len(hits) / n, len(hits) / n_relevant
    best = dcg(sorted(gains.values(), reverse=True)[:n])
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if hits else 0.0,
        "hit_rate": float(bool(hits)),
        "ndcg": dcg([item in gains for item in first]) / dcg([1] * min(n, n_relevant)),
        "graded_ndcg": dcg([gains.get(item, 0) for item in first]) / best if best else math.nan,
        "map": average_precision(),
        "mrr": 1 / hits[0] if hits else 0.0,
        "r_precision": sum(item in gains for item in row[:n_relevant]) / n_relevant,
        "auc": auc(),
    }


def novelty_of_list(row, n, counts, n_users):
    """Mean of -log2 of the share of users who have rated an item, at least one; `counts` maps items to ratings."""
    bits = [-math.log2(max(counts[item], 1) / n_users) for item in row[:n] if item in counts]
    return sum(bits) / len(bits) if bits else math.nan


def diversity_of_list(row, n, vectors):
    """Mean of 1 - cosine over all pairs of a list; `vectors` maps items to vectors."""
    items = [item for item in row[:n] if item in vectors]
    distances = []
    for place, a in enumerate(items):
        for b in items[:place]:
            lengths = np.linalg.norm(vectors[a]) * np.linalg.norm(vectors[b])
            distances.append(1 - (vectors[a] @ vectors[b] / lengths if lengths else 0))
    return sum(distances) / len(distances) if distances else math.nan


def gini_of_counts(counts):
    """Half the mean absolute difference of all ordered pairs of two different items, over the mean."""
    n = len(counts)
    differences = sum(abs(a - b) for a in counts for b in counts)
    return differences / (2 * n * (n - 1)) / (sum(counts) / n)


# ---------------------------------------------------------------------------------------------------------------------
# Propensities


def propensity_scores(mean, user, items, counts, rated, unit, ridge, prior_ratings):
    """What every item is judged by for one user: predicted rating + unit * (log(1 + count) + density ratio).

    `user` is [p ; b] and `items` rows [q ; c]; `rated` are the codes of the items that the user has rated.
    """
    q, k = items[:, :-1].astype(np.float64), items.shape[1] - 1
    predicted = mean + user[k] + items[:, k] + q @ user[:k].astype(np.float64)
    everything = np.repeat(np.arange(len(q)), counts)  # the item of every rating
    second = sum(np.outer(q[i], q[i]) for i in everything) / len(everything)
    pseudo = prior_ratings * q[everything].mean(axis=0)
    m = (q[rated].sum(axis=0) + pseudo) / (len(rated) + prior_ratings)
    ratio = np.zeros(len(q))
    if k and np.trace(second) > 0:
        ratio = q @ np.linalg.solve(second + ridge * np.trace(second) / k * np.eye(k), m)
    return predicted + unit * (np.log(1 + counts) + ratio)


def leave_one_out_errors(features, target, weights, ridge):
    """How far each row is from what a ridge regression on all other rows predicts, shapes (n, f), (n, c), (n, c)."""
    n, f = features.shape
    errors = np.empty(target.shape)
    for column in range(target.shape[1]):
        w = weights[:, column] / weights[:, column].mean()
        for row in range(n):
            rest = np.arange(n) != row
            F, x = features[rest], target[rest, column]
            W = np.linalg.solve((F.T * w[rest]) @ F + ridge * np.eye(f), F.T @ (w[rest] * x))
            errors[row, column] = target[row, column] - features[row] @ W
    return errors


def ordinal_probabilities(latent, cut_points, std):
    """The probability of each level of an ordered probit, one prediction after the other."""
    ends = [-np.inf, *cut_points, np.inf]
    return np.array([np.diff(norm.cdf(ends, e, std)) for e in latent])


def tilted(probabilities, log_weights, levels):
    """One distribution times exp(log_weights + theta levels), with the theta that leaves its mean as it was."""

    def weighted(theta):
        logs = np.log(probabilities) + log_weights + theta * (levels - levels[0])
        out = np.exp(logs - logs.max())
        return out / out.sum()

    if np.ptp(log_weights) == 0:
        return np.array(probabilities)
    return weighted(brentq(lambda theta: (weighted(theta) - probabilities) @ levels, -1e3, 1e3, xtol=1e-14, rtol=1e-14))


def scale_usage(probabilities, codes, users, n_users, levels, steps, variance, max_change, least_variance):
    """`learn_scale_usage` by a loop over ratings: gradients by differences, information from all ratings there might be."""
    L = len(levels)
    b, mean, covariance = np.zeros((n_users, L)), np.zeros(L), variance * np.eye(L)

    def gradients(p, weights):
        """The derivatives of the log probability of every level by the log weights, (level, weight)."""
        step = 1e-5 * np.eye(L)
        up, down = (np.array([np.log(tilted(p, weights + sign * x, levels)) for x in step]) for sign in (1, -1))
        return (up - down).T / 2e-5

    for _ in range(steps):
        total, moved = np.zeros((L, L)), b.copy()
        for user in set(users):
            precision = np.linalg.inv(covariance)
            gradient, information = -precision @ (b[user] - mean), precision.copy()
            for p, code in zip(probabilities[users == user], codes[users == user], strict=True):
                slopes, q = gradients(p, b[user]), tilted(p, b[user], levels)
                gradient += slopes[code]
                information += (slopes.T * q) @ slopes
            total += np.linalg.inv(information)
            moved[user] += np.clip(np.linalg.solve(information, gradient), -max_change, max_change)
        b, known = moved, sorted(set(users))
        mean = b[known].mean(0)
        apart = b[known] - mean
        covariance = (apart.T @ apart + total) / len(known) + least_variance * np.eye(L)
    b[[user for user in range(n_users) if user not in users]] = mean
    return np.vstack([b, mean])


def plain_lines(text, delimiter, roles, ids):
    """Columns of plain lines, as `_csv.parse_lines` numbers them: users, items, ratings, times; -1 or -2 where it refuses them."""
    columns = {role: [] for role in (1, 2, 3, 4)}
    for line in text.removesuffix("\n").split("\n"):
        fields = line.removesuffix("\r").split(delimiter)
        if len(fields) != len(roles):
            return -1
        for role, field in zip(roles, fields, strict=True):
            if role == 0:
                if set(field) & set('"\0\r'):
                    return -1
            elif role == 3:
                match = re.fullmatch(r"(-?)([0-9]+)(?:\.([0-9]+))?", field)
                if not match or len(match[3] or "") > 10 or int(match[2] + (match[3] or "")) >= 2**24:
                    return -1
                if match[1] and int(match[2] + (match[3] or "")) == 0:
                    return -1
                columns[role].append(np.float32(field))
            else:
                if not re.fullmatch(r"0|-?[1-9][0-9]{0,17}", field):
                    return -1
                if role != 4 and int(field) != int(np.array(int(field)).astype(ids)):
                    return -2
                columns[role].append(int(field))
    return [columns[role] for role in (1, 2, 3, 4) if role in roles]


def error_sizes(users, items, errors, prior_count):
    """Each error over its size by the other errors of its user and of its item, one rating after the other."""
    overall, sizes = np.mean(errors**2), np.empty(len(errors))
    for place in range(len(errors)):
        others = np.arange(len(errors)) != place
        parts = [errors[others & (own == own[place])] ** 2 for own in (users, items)]
        ratios = [(part.sum() / overall + prior_count) / (len(part) + prior_count) for part in parts]
        sizes[place] = np.sqrt(overall * np.prod(ratios))
    return errors / sizes
