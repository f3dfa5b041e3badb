// What points are coloured by: each scheme cuts the items into classes with a name and a colour, which are the legend's entries.

// From viridis (Smith and van der Walt), without its ends, which are lost on white or on black; from blue over grey to
// orange for what has a middle. Both are read with any common colour blindness.
const SEQUENCE = {
  light: ["#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#8fc93a", "#c2b61a"],
  dark: ["#6f5bb5", "#4f7fc0", "#2f9fb0", "#2fb59a", "#5fd07f", "#a5db36", "#f4e61e"],
};
const DIVERGING = {
  light: ["#2166ac", "#5a93c4", "#9bb4c4", "#a9a9a9", "#d3a878", "#d07a2c", "#a94400"],
  dark: ["#5aa2ea", "#7db3e0", "#9fbccc", "#9a9a9a", "#d9b48a", "#e8964a", "#f07820"],
};
const OTHER = { light: "#b9bcc2", dark: "#6d7480" };

class Scheme {
  // classes: [{ name, light, dark, n }]; of: the class of each item.
  constructor(name, label, classes, of) {
    Object.assign(this, { name, label, classes, of });
    for (const one of classes) one.n = 0;
    for (const c of of) classes[c].n++;
  }
}

function spread(colours, n) {
  if (n === 1) return [colours[Math.floor(colours.length / 2)]];
  return Array.from({ length: n }, (_, x) => colours[Math.round((x * (colours.length - 1)) / (n - 1))]);
}

// What a class of numbers is called: those below an edge, between two, and from one on.
const NUMBERS = {
  below: (to) => `below ${trimmed(to)}`, between: (from, to) => `${trimmed(from)} to ${trimmed(to)}`,
  above: (from) => `${trimmed(from)} or more`,
};
const COUNTS = {
  below: (to) => (to === 2 ? "1" : `below ${grouped(to)}`), between: (from, to) => `${grouped(from)} to ${grouped(to - 1)}`,
  above: (from) => `${grouped(from)} or more`,
};
const YEARS = {
  below: (to) => `before ${to}`, between: (from, to) => (to - from === 1 ? `${from}` : `${from} to ${to - 1}`),
  above: (from) => `${from} or later`,
};
const BIASES = {
  below: (to) => `below ${signed(to)}`, between: (from, to) => `${signed(from)} to ${signed(to)}`,
  above: (from) => `${signed(from)} or more`,
};

// Classes of numbers between edges, ascending; NaN is in a class of its own, "unknown".
function byNumber(name, label, values, edges, words, colours) {
  const classes = [];
  for (let c = 0; c <= edges.length; c++) {
    const [from, to] = [edges[c - 1], edges[c]];
    const text = edges.length === 0 ? "all" : c === 0 ? words.below(to) : c < edges.length ? words.between(from, to) : words.above(from);
    classes.push({ name: text });
  }
  const light = spread(colours.light, classes.length);
  const dark = spread(colours.dark, classes.length);
  classes.forEach((one, c) => Object.assign(one, { light: light[c], dark: dark[c] }));
  const unknown = classes.length;
  let lacking = false;
  const of = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++) {
    let c = 0;
    if (Number.isNaN(values[i])) {
      c = unknown;
      lacking = true;
    } else while (c < edges.length && values[i] >= edges[c]) c++;
    of[i] = c;
  }
  if (lacking) classes.push({ name: "unknown", ...OTHER });
  return new Scheme(name, label, classes, of);
}

// At most `most` round edges that cut the middle of some numbers evenly.
function roundEdges(values, digits, most = 6) {
  const known = Float64Array.from(values).filter((x) => !Number.isNaN(x)).sort();
  if (!known.length) return [];
  const at = (share) => known[Math.min(known.length - 1, Math.floor(share * known.length))];
  const low = at(0.05);
  const high = at(0.95);
  if (!(high > low)) return [];
  const power = 10 ** (Math.floor(Math.log10(high - low)) - 1);
  for (const m of [1, 2, 5, 10, 20]) {
    const step = m * power;
    const [first, last] = [Math.ceil(low / step), Math.floor(high / step)];
    if (step < 10 ** -digits || last - first >= most) continue;
    return Array.from({ length: last - first + 1 }, (_, e) => Number(((first + e) * step).toFixed(digits)));
  }
  return [];
}

function makeSchemes(data) {
  const { about, counts } = data;
  const schemes = [];
  if (about.genres) {
    const coloured = about.genre_colours.length;
    const classes = about.genres.slice(0, coloured).map((genre, c) => {
      const [light, dark] = about.genre_colours[c];
      return { name: genre, light, dark };
    });
    const of = data.main_genre.map((g) => Math.min(g, coloured));
    if (of.some((c) => c === coloured)) classes.push({ name: "other", ...OTHER });
    schemes.push(new Scheme("genre", "Genre", classes, of));
  }
  if (data.years) {
    const years = Float64Array.from(data.years, (y) => y || NaN);
    schemes.push(byNumber("year", "Year", years, roundEdges(years, 0), YEARS, SEQUENCE));
  }
  if (data.means) {
    const means = itemMeans(data);
    schemes.push(byNumber("mean", "Mean rating", means, roundEdges(means, 4), NUMBERS, SEQUENCE));
  }
  const edges = [];
  const most = counts.reduce((a, b) => Math.max(a, b), 0);
  for (let e = 0; e < 10; e++) for (const m of [1, 3]) if (m * 10 ** e < most) edges.push(m * 10 ** e);
  while (edges.length > 6) edges.shift();
  if (edges.length > 1 && !counts.some((c) => c < edges[0])) edges.shift();
  schemes.push(byNumber("popularity", "Popularity", Float64Array.from(counts), edges, COUNTS, SEQUENCE));
  const bias = Float64Array.from(data.bias, (b) => b * about.bias_step);
  let symmetric = roundEdges(bias.map(Math.abs), 4, 4).filter((x) => x > 0).slice(0, 3);
  symmetric = [...symmetric.map((x) => -x).reverse(), ...symmetric];
  schemes.push(byNumber("bias", "Bias", bias, symmetric, BIASES, DIVERGING));
  return schemes;
}

// Mean ratings, NaN where there is none: 1 to 65535 are the lowest and the highest rating.
function itemMeans(data) {
  const [low, high] = data.about.range;
  return Float64Array.from(data.means, (m) => (m ? low + ((m - 1) / 65534) * (high - low) : NaN));
}

const trimmed = (x) => String(Number(x.toFixed(3)));
const grouped = (x) => Number(x).toLocaleString("en");
const signed = (x, written = trimmed) => (x < 0 ? "−" : x > 0 ? "+" : "") + written(Math.abs(x));

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}
