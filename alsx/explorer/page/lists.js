// Pieces of the panel: elements, lines of items, the control that rates one.

function make(tag, options = {}, ...children) {
  const { classes, text, on, ...attributes } = options;
  const element = document.createElement(tag);
  if (classes) element.className = classes;
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== false && value !== undefined) element.setAttribute(name, value);
  }
  for (const [name, listener] of Object.entries(on || {})) element.addEventListener(name, listener);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// How items are written in the panel; the scheme of the map gives their colours.
class Lists {
  constructor(items, about, open, rate) {
    Object.assign(this, { items, about, open, rate });
  }

  dot(colour) {
    const dot = make("span", { classes: "dot", "aria-hidden": "true" });
    dot.style.backgroundColor = colour;
    return dot;
  }

  // One line: a button that opens the item, and what is said of it.
  line(item, map, { value = null, said = null } = {}) {
    const year = this.items.year(item);
    const title = make("span", { classes: "title", text: this.items.titles[item] });
    if (year) title.append(" ", make("small", { text: year }));
    const open = make(
      "button", { classes: "open", type: "button", "data-item": String(item), on: { click: () => this.open(item) } },
      this.dot(map.colourOf(item)), title, said ? make("span", { classes: "hidden", text: said }) : null,
    );
    const line = make("li", { classes: "line" }, open);
    if (value) line.append(make("span", { classes: "value", "aria-hidden": said ? "true" : null }, ...value));
    return line;
  }

  bar(share) {
    const inner = make("i");
    inner.style.width = `${Math.round(100 * Math.max(0, Math.min(1, share)))}%`;
    return make("span", { classes: "bar", "aria-hidden": "true" }, inner);
  }

  // A line with the control that rates the item.
  ratingLine(item, map, rating, removable) {
    const line = this.line(item, map);
    line.classList.add("rating");
    line.append(this.control(item, rating));
    if (removable) {
      line.append(
        make("button", {
          classes: "remove", type: "button", text: "×", "aria-label": `Remove the rating of ${this.items.titles[item]}`,
          on: { click: () => this.rate(item, null) },
        }),
      );
    }
    return line;
  }

  get isStars() {
    const [low, high] = this.about.range;
    return high === 5 && low >= 0 && low <= 1;
  }

  written(rating) {
    return rating === undefined || rating === null ? "" : trimmed(rating);
  }

  // A slider, drawn as stars where the scale is one of five; of counts a button. `rating` undefined: not rated.
  control(item, rating) {
    const title = this.items.titles[item];
    if (this.about.implicit) {
      return make("button", {
        classes: "like", type: "button", text: "Like", "aria-pressed": String(rating !== undefined),
        "aria-label": `Like ${title}`, "data-rate": String(item),
        on: { click: () => this.rate(item, rating === undefined ? 1 : null) },
      });
    }
    const { step } = this.about;
    const [low, high] = this.about.range;
    const marks = Math.max(1, Math.round((high - low) / step));
    // On the slider 0 is no rating, and 1 the lowest.
    const valueOf = (place) => Number((low + (place - 1) * ((high - low) / marks)).toFixed(6));
    const placeOf = (value) => Math.round(((value - low) / (high - low || 1)) * marks) + 1;
    const place = rating === undefined ? 0 : placeOf(rating);
    // As stars the slider begins at 0 stars, so that the place of a mark is its number of stars.
    const lead = this.isStars ? Math.round(low / step) : 1;
    const [least, most] = this.isStars ? [0, Math.round(high / step)] : [0, marks + 1];
    const input = make("input", {
      type: "range", min: String(least), max: String(most), step: "1", "data-rate": String(item),
      value: String(place ? place - 1 + lead : 0), "aria-label": `Your rating of ${title}`,
    });
    const output = make("output", { "aria-hidden": "true" });
    const full = make("span", { classes: "full", text: "★★★★★", "aria-hidden": "true" });
    const current = () => {
      const at = Number(input.value) - lead + 1;
      return Number(input.value) === 0 ? undefined : valueOf(Math.max(at, 1));
    };
    const show = () => {
      const value = current();
      output.textContent = this.written(value);
      full.style.width = value === undefined ? "0" : `${(100 * value) / high}%`;
      const word = this.isStars ? (value === 1 ? " star" : " stars") : ` of ${trimmed(high)}`;
      input.setAttribute("aria-valuetext", value === undefined ? "not rated" : this.written(value) + word);
    };
    show();
    input.addEventListener("input", show);
    input.addEventListener("change", () => this.rate(item, current() ?? null));
    if (!this.isStars) return make("span", { classes: "stars plain" }, input, output);
    const glyphs = make("span", { classes: "glyphs" }, make("span", { text: "★★★★★", "aria-hidden": "true" }), full, input);
    return make("span", { classes: "stars" }, glyphs, output);
  }
}

// What the items are called, and how they are found by their names.
class Items {
  constructor(data) {
    this.titles = data.titles.split("\n");
    this.ids = typeof data.ids === "string" ? data.ids.split("\n") : Array.from(data.ids, String);
    this.data = data;
    this.byId = new Map(this.ids.map((id, i) => [id, i]));
    const { genres } = data.about;
    if (genres) {
      this.starts = new Uint32Array(this.titles.length + 1);
      data.genre_counts.forEach((count, i) => (this.starts[i + 1] = this.starts[i] + count));
    }
    if (data.means) this.means = itemMeans(data);
  }

  year(item) {
    return (this.data.years && this.data.years[item]) || null;
  }

  genres(item) {
    if (!this.starts) return [];
    const codes = this.data.genre_codes.slice(this.starts[item], this.starts[item + 1]);
    return Array.from(codes, (code) => this.data.about.genres[code]);
  }

  // Title and year, for texts that are read aloud.
  name(item) {
    const year = this.year(item);
    return this.titles[item] + (year ? ` (${year})` : "");
  }

  plain(text) {
    return text.normalize("NFD").replace(/[\u0300-\u036f]/g, "").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();
  }

  // Items by name: those that begin with what is typed first, then those with a word that does, then others; the most rated of each
  // first. Of several words all must be there; a year counts as one.
  search(text, order, count) {
    this.keys ||= this.titles.map((title, i) => ` ${this.plain(title)} ${this.year(i) || ""}`);
    const sought = this.plain(text);
    if (!sought) return [];
    const words = sought.split(" ");
    const found = [[], [], []];
    for (const i of order) {
      const key = this.keys[i];
      if (!words.every((word) => key.includes(word))) continue;
      const first = key.startsWith(` ${sought}`) || key.startsWith(` the ${sought}`) || key.startsWith(` a ${sought}`);
      const place = first ? 0 : words.every((word) => key.includes(` ${word}`)) ? 1 : 2;
      found[place].push(i);
      if (found[0].length >= count) break;
    }
    return found.flat().slice(0, count);
  }
}
