// What the model says: similar items, the row solve of somebody new, lists. The same arithmetic as in alsx, in double precision,
// on the tables of the page.

class Model {
  constructor(data) {
    const about = data.about;
    this.about = about;
    this.data = data;
    this.k = about.k;
    this.n = about.n;
    this.counts = data.counts;
    this.bias = Float64Array.from(data.bias, (b) => b * about.bias_step);
    // Factors (n, k) in rating units, and divided by their length.
    const { k, n } = this;
    this.factors = new Float32Array(n * k);
    this.unit = new Float32Array(n * k);
    this.comparable = new Uint8Array(n);
    for (let i = 0; i < n; i++) {
      let square = 0;
      for (let j = i * k; j < (i + 1) * k; j++) {
        const q = data.factors[j] * data.factor_step[i];
        this.factors[j] = q;
        square += q * q;
      }
      const length = Math.sqrt(square);
      this.comparable[i] = length > 0 && !(data.incomparable && data.incomparable[i]) ? 1 : 0;
      if (length > 0) for (let j = i * k; j < (i + 1) * k; j++) this.unit[j] = this.factors[j] / length;
    }
  }

  // The best of n scores: [[item, score], ...], equal scores in ascending order of items.
  best(scores, count, allowed) {
    const found = [];
    for (let i = 0; i < this.n; i++) {
      if (!allowed(i)) continue;
      const score = scores[i];
      if (found.length === count && !(score > found[count - 1][1])) continue;
      let at = found.length;
      while (at > 0 && found[at - 1][1] < score) at--;
      found.splice(at, 0, [i, score]);
      if (found.length > count) found.pop();
    }
    return found;
  }

  // The items whose factors have the highest cosines with those of one: `similar_items(item, count, min_ratings=floor)`.
  similar(item, count, floor) {
    if (!this.comparable[item]) return [];
    const { k, n, unit } = this;
    const cosines = new Float64Array(n);
    const own = unit.subarray(item * k, (item + 1) * k);
    for (let i = 0, at = 0; i < n; i++) {
      let sum = 0;
      for (let j = 0; j < k; j++) sum += own[j] * unit[at++];
      cosines[i] = sum;
    }
    return this.best(cosines, count, (i) => i !== item && this.comparable[i] && this.counts[i] >= floor);
  }

  // z = [q ; bias] of an item as users are solved from it, and what having rated it adds to a prior mean.
  rowSolvedFrom(item) {
    const { k, data } = this;
    const row = new Float64Array(k + 1);
    for (let j = 0; j < k; j++) row[j] = data.factors[item * k + j] * data.factor_step[item];
    row[k] = this.bias[item];
    if (data.solving) {
      for (let j = 0; j <= k; j++) row[j] += data.solving[item * (k + 1) + j] * data.solving_step[j];
    }
    return row;
  }

  // The prior mean of somebody who has rated these items, whatever the ratings (k+1).
  priorMean(items) {
    const { k, data, about } = this;
    const mean = data.prior_mean ? Float64Array.from(data.prior_mean) : new Float64Array(k + 1);
    const weightSum = items.length * about.weight;
    if (data.effects && items.length) {
      for (const item of items) {
        for (let j = 0; j <= k; j++) {
          const effect = data.effects[item * (k + 1) + j] * data.effect_step[j];
          mean[j] += (about.weight * effect) / Math.sqrt(weightSum + about.set_prior_count);
        }
      }
    }
    if (data.unrated_mean) {
      const share = weightSum / Math.max(weightSum + about.typical_min_count - 1, 1);
      for (let j = 0; j <= k; j++) mean[j] = share * mean[j] + (1 - share) * data.unrated_mean[j];
    }
    return mean;
  }

  // The vector [p ; b] of somebody with these ratings, a Map of item -> rating: A x = h with
  // A = sum w z z' + S + G and h = sum w t z + S m + g, as `fold_in` solves it.
  solve(ratings) {
    const { k, data, about } = this;
    const size = k + 1;
    const items = [...ratings.keys()];
    const mean = this.priorMean(items);
    if (!items.length) return mean;
    const A = new Float64Array(size * size);
    const h = new Float64Array(size);
    const scale = Math.max(items.length * about.weight, about.min_count) ** about.exponent;
    for (let a = 0; a < size; a++) {
      for (let b = 0; b < size; b++) {
        let prior = 0;
        if (data.precision) prior = data.precision[a * size + b];
        else if (a === b) prior = scale * (a < k ? about.reg : about.reg_bias);
        A[a * size + b] = prior;
        h[a] += prior * mean[b];
        // Pairs without a rating: sums over all items, z = [q ; 1 ; -bias].
        if (data.gram) A[a * size + b] += data.gram[a * (size + 1) + b];
      }
      if (data.gram) h[a] += data.gram[a * (size + 1) + size];
    }
    for (const item of items) {
      const z = this.rowSolvedFrom(item);
      const rating = about.value === null ? ratings.get(item) : about.value;
      const target = (rating - about.mean) / about.unit - z[k];
      z[k] = 1;
      for (let a = 0; a < size; a++) {
        h[a] += about.weight * target * z[a];
        for (let b = 0; b < size; b++) A[a * size + b] += about.weight * z[a] * z[b];
      }
    }
    return solveCholesky(A, h, size);
  }

  // Predicted ratings of all items by somebody with this vector; a model that ranks has scores instead.
  predictions(vector) {
    const { k, n, factors, bias } = this;
    const base = this.about.mean + vector[k];
    const out = new Float64Array(n);
    for (let i = 0, at = 0; i < n; i++) {
      let sum = base + bias[i];
      for (let j = 0; j < k; j++) sum += vector[j] * factors[at++];
      out[i] = sum;
    }
    return out;
  }

  // What `recommend` judges items by: predicted ratings, plus how likely they are rated at all (see "propensity" there).
  scores(ratings, vector, strategy) {
    if (strategy !== "propensity") return this.predictions(vector);
    const { k, data, about } = this;
    const judged = Float64Array.from(vector);
    if (data.directions) {
      const share = 1 / (ratings.size + about.lists.prior_ratings);
      for (let a = 0; a < k; a++) {
        let sum = about.lists.prior_ratings * data.direction_of_all[a];
        for (const item of ratings.keys()) {
          for (let b = 0; b < k; b++) sum += data.directions[a * k + b] * this.factors[item * k + b];
        }
        judged[a] += share * sum;
      }
    }
    const scores = this.predictions(judged);
    const counts = data.evidence_counts || data.counts;
    for (let i = 0; i < this.n; i++) scores[i] += about.lists.unit * Math.log1p(counts[i]);
    return scores;
  }

  // The list of somebody with these ratings: [[item, score, prediction], ...], as `recommend(ratings=...)` makes it.
  recommend(ratings, count, floor, strategy = this.about.default_strategy) {
    const vector = this.solve(ratings);
    const predicted = this.predictions(vector);
    const scores = this.scores(ratings, vector, strategy);
    const found = this.best(scores, count, (i) => !ratings.has(i) && this.counts[i] >= floor);
    return found.map(([item, score]) => [item, score, predicted[item]]);
  }

  clipped(rating) {
    const [low, high] = this.about.range;
    return Math.min(Math.max(rating, low), high);
  }
}

// x of A x = h, A (size, size) symmetric and positive definite; both are overwritten.
function solveCholesky(A, h, size) {
  for (let j = 0; j < size; j++) {
    for (let i = j; i < size; i++) {
      let sum = A[i * size + j];
      for (let m = 0; m < j; m++) sum -= A[i * size + m] * A[j * size + m];
      A[i * size + j] = i === j ? Math.sqrt(sum) : sum / A[j * size + j];
    }
  }
  for (let i = 0; i < size; i++) {
    for (let m = 0; m < i; m++) h[i] -= A[i * size + m] * h[m];
    h[i] /= A[i * size + i];
  }
  for (let i = size - 1; i >= 0; i--) {
    for (let m = i + 1; m < size; m++) h[i] -= A[m * size + i] * h[m];
    h[i] /= A[i * size + i];
  }
  return h;
}
