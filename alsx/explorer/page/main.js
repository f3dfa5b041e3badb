// The page: what is chosen, and what is shown of it.

const NEAREST = 10;
const RECOMMENDED = 10;
const WANTED_RATINGS = 5;
const OFFERED = 5;
const FOUND = 12;

const $ = (id) => document.getElementById(id);

const THEMES = {
  light: { name: "light", ink: "#1f2328", quiet: "#6b717b", paper: "#fbfaf7", accent: "#0b6e75" },
  dark: { name: "dark", ink: "#e8e6e1", quiet: "#949ba6", paper: "#14171c", accent: "#57c7cf" },
};
for (const theme of Object.values(THEMES)) theme.rgb = { paper: rgb(theme.paper), quiet: rgb(theme.quiet) };

class Page {
  constructor(data) {
    const { about } = data;
    Object.assign(this, { data, about });
    this.items = new Items(data);
    this.model = new Model(data);
    this.schemes = makeSchemes(data);
    this.scheme = this.schemes[0];
    this.chosen = new Set();
    this.floor = about.shown_from;
    this.ratings = new Map(); // item -> rating, in the order in which they were given
    this.selected = null;
    this.tab = "item";
    this.strategy = about.default_strategy;
    this.skipped = 0;
    // The legend takes its room before the map looks at how much is left.
    $("legend").open = matchMedia("(min-width: 761px)").matches;
    this.map = new ItemMap($("map"), data, this.items.titles);
    this.lists = new Lists(this.items, about, (item) => this.select(item), (item, rating) => this.rate(item, rating));
    this.words();
    this.setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    this.legend();
    this.listen();
    this.map.resize();
    this.fromHash(true);
    this.showItem();
    this.showYou();
    $("loading").hidden = true;
  }

  words() {
    const { noun, nouns, n, source, n_ratings, n_users } = this.about;
    const said = [source, `${grouped(n)} ${nouns}`, `${grouped(n_ratings)} ratings by ${grouped(n_users)} people`];
    $("source").textContent = said.filter(Boolean).join(" · ");
    $("search").placeholder = `Search ${grouped(n)} ${nouns}`;
    $("search-label").textContent = `Search ${nouns}`;
    $("tab-item").textContent = noun[0].toUpperCase() + noun.slice(1);
    $("map").setAttribute("aria-label", `Map of ${grouped(n)} ${nouns}; those that the same people like lie together`);
  }

  ratingsOf(item) {
    const count = this.model.counts[item];
    return `${grouped(count)} ${count === 1 ? "rating" : "ratings"}`;
  }

  say(text) {
    $("said").textContent = text;
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Colours and filters

  setTheme(name) {
    this.theme = THEMES[name];
    document.documentElement.dataset.theme = name;
    $("theme").setAttribute("aria-pressed", String(name === "dark"));
    this.refresh();
  }

  refresh() {
    this.map.show({ scheme: this.scheme, chosen: this.chosen, floor: this.floor, theme: this.theme });
  }

  legend() {
    const select = $("scheme");
    select.replaceChildren(...this.schemes.map((one) => make("option", { value: one.name, text: one.label })));
    select.value = this.scheme.name;
    const { counts } = this.data;
    const most = counts[this.map.order[0]];
    const floors = [this.about.least_ratings, this.about.shown_from];
    for (let e = 1; e <= most; e *= 10) floors.push(e, 2 * e, 5 * e);
    floors.sort((a, b) => a - b);
    // Of numbers that leave the same items one is enough, the largest.
    const shown = (f) => counts.reduce((sum, c) => sum + (c >= f), 0);
    const byShown = new Map(floors.filter((f) => f >= this.about.least_ratings && f <= most).map((f) => [shown(f), f]));
    this.floors = [...byShown.values()];
    this.floor = byShown.get(shown(this.floor));
    const slider = $("floor");
    slider.max = this.floors.length - 1;
    slider.value = this.floors.indexOf(this.floor);
    $("floor").closest("label").hidden = this.floors.length < 2;
    this.classes();
    this.floorText();
  }

  floorText() {
    const { counts } = this.data;
    const shown = counts.reduce((sum, c) => sum + (c >= this.floor), 0);
    const text = `${grouped(shown)} ${this.about.nouns}`;
    $("floor-text").replaceChildren(`${grouped(this.floor)}+ ratings`, make("span", { text }));
    $("floor").setAttribute("aria-label", "Fewest ratings of what is shown");
    $("floor").setAttribute("aria-valuetext", `${this.floor} or more ratings: ${text}`);
  }

  classes() {
    const { scheme, chosen, floor } = this;
    const { counts } = this.data;
    const shown = scheme.classes.map(() => 0);
    scheme.of.forEach((c, i) => (shown[c] += counts[i] >= floor));
    const buttons = scheme.classes.map((one, c) => {
      const button = make(
        "button", { type: "button", "aria-pressed": String(chosen.has(c)), on: { click: () => this.choose(c) } },
        this.lists.dot(one[this.theme.name]), make("span", { text: one.name }),
        make("span", { classes: "count", text: grouped(shown[c]) }),
      );
      return make("li", { hidden: shown[c] === 0 }, button);
    });
    $("classes").replaceChildren(...buttons);
    $("classes").classList.toggle("some", chosen.size > 0);
    $("scheme-name").textContent = scheme.label;
  }

  // A class of the legend alone, or with others that are chosen; none chosen means all.
  choose(c) {
    if (this.chosen.has(c)) this.chosen.delete(c);
    else this.chosen.add(c);
    if (this.chosen.size === this.scheme.classes.length) this.chosen.clear();
    this.refresh();
    for (const [at, button] of [...$("classes").querySelectorAll("button")].entries()) {
      button.setAttribute("aria-pressed", String(this.chosen.has(at)));
    }
    $("classes").classList.toggle("some", this.chosen.size > 0);
    this.say(`${grouped(this.map.n_lit)} ${this.about.nouns} shown`);
    this.showView();
  }

  setScheme(name) {
    this.scheme = this.schemes.find((one) => one.name === name);
    this.chosen.clear();
    this.classes();
    this.refresh();
    this.showItem();
    this.showYou();
  }

  setFloor(floor) {
    this.floor = floor;
    $("floor").value = this.floors.indexOf(floor);
    this.floorText();
    this.classes();
    this.refresh();
    this.showItem();
    this.showYou();
  }

  // ---------------------------------------------------------------------------------------------------------------
  // One item

  select(item, { focus = true, glide = true, hash = true } = {}) {
    this.selected = item;
    const near = item === null ? [] : this.model.similar(item, NEAREST, this.floor).map(([i]) => i);
    this.map.mark({ selected: item, near });
    this.openTab("item", item !== null);
    this.showItem();
    if (hash) this.toHash();
    if (item === null) return;
    if (glide) this.map.frame([item, ...near]);
    this.say(`${this.items.name(item)}. ${near.length} similar ${this.about.nouns} are listed.`);
    if (focus) $("item").querySelector("h2").focus({ preventScroll: true });
    $("item").scrollTop = 0;
  }

  showItem() {
    const item = this.selected;
    if (item === null) {
      this.map.mark({ selected: null, near: [], ...this.ownMarks() });
      this.showView();
      return;
    }
    const { lists, items, model, map, about } = this;
    const similar = model.similar(item, NEAREST, this.floor);
    map.mark({ selected: item, near: similar.map(([i]) => i), ...this.ownMarks() });
    const genres = items.genres(item);
    const under = [items.year(item), genres.join(", ")].filter(Boolean).join(" · ");
    const facts = [];
    if (items.means && !Number.isNaN(items.means[item])) facts.push(["mean rating", items.means[item].toFixed(2)]);
    facts.push([model.counts[item] === 1 ? "rating" : "ratings", grouped(model.counts[item])]);
    facts.push(["bias", signed(model.bias[item], (x) => x.toFixed(2))]);
    const head = [
      make(
        "div", { classes: "top" },
        make("h2", { tabindex: "-1", text: items.titles[item] }),
        make("button", {
          classes: "close", type: "button", text: "×", "aria-label": "Back to what is in view", on: { click: () => this.select(null) },
        }),
      ),
      under ? make("p", { classes: "under", text: under }) : null,
      make("dl", {}, ...facts.map(([name, value]) => make("div", {}, make("dt", { text: name }), make("dd", { text: value })))),
      this.mine(item),
    ];
    const found = similar.map(([i, cosine]) =>
      lists.line(i, map, { value: [lists.bar(cosine), make("b", { text: cosine.toFixed(2) })], said: `, cosine ${cosine.toFixed(2)}` }),
    );
    const explained = similar.length
      ? `Liked and disliked by the same people, as the model sees it; the number is the cosine, 1 at most.`
      : `The model has learned too little of this ${about.noun} to compare it.`;
    const body = [
      make("h3", { id: "near-title", text: `Nearest ${about.nouns}` }),
      make("p", { classes: "hint", text: explained }),
      make("ol", { id: "near", "aria-labelledby": "near-title" }, ...found),
    ];
    $("item").replaceChildren(...head.filter(Boolean), ...body);
  }

  mine(item) {
    const rating = this.ratings.get(item);
    const box = make("div", { classes: "mine" }, make("span", { text: "Your rating" }), this.lists.control(item, rating));
    if (this.ratings.size && rating === undefined && this.about.predicts_ratings) {
      const predicted = this.model.clipped(this.model.predictions(this.model.solve(this.ratings))[item]);
      box.append(make("span", { text: `predicted for you: ${predicted.toFixed(1)}` }));
    }
    return box;
  }

  // Where nothing is chosen: what is on the map now.
  showView() {
    if (this.selected !== null) return;
    const { about, lists, map } = this;
    const found = map.inView(12);
    const lines = found.map((i) => lists.line(i, map, { value: [grouped(this.model.counts[i])], said: `, ${this.ratingsOf(i)}` }));
    $("item").replaceChildren(
      make("h2", { tabindex: "-1", text: `${about.nouns[0].toUpperCase() + about.nouns.slice(1)} in view` }),
      make("p", {
        classes: "under",
        text: `What the same people like lies together. Choose a point, or search, to see what is nearest to it.`,
      }),
      make("h3", { id: "view-title", text: "Most rated here" }),
      make("ol", { id: "view", "aria-labelledby": "view-title" }, ...lines),
      found.length ? "" : make("p", { classes: "hint", text: "Nothing: move the map, or choose other classes." }),
    );
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Somebody new

  rate(item, rating) {
    if (rating === null) this.ratings.delete(item);
    else this.ratings.set(item, rating);
    const control = document.activeElement?.dataset?.rate;
    this.showYou();
    this.showItem();
    this.toHash();
    const count = this.ratings.size;
    this.say(count ? `${count} rated. Recommendations are new.` : "Nothing is rated.");
    // The control was made anew: the keyboard goes on where it was.
    if (control) ($(this.tab).querySelector(`[data-rate="${control}"]`) || $(this.tab)).focus({ preventScroll: true });
  }

  recommended() {
    if (!this.ratings.size) return [];
    return this.model.recommend(this.ratings, RECOMMENDED, this.floor, this.strategy);
  }

  ownMarks() {
    if (this.tab !== "you") return { listed: [], rated: [] };
    return { listed: this.recommended().map(([i]) => i), rated: [...this.ratings.keys()] };
  }

  showYou() {
    const { lists, map, about, ratings } = this;
    const count = ratings.size;
    $("tab-you").replaceChildren("For you", count ? make("span", { classes: "badge", text: String(count) }) : "");
    const parts = [
      make("h2", { tabindex: "-1", text: count ? "Recommended for you" : `Rate ${WANTED_RATINGS} ${about.nouns}` }),
      make("p", {
        classes: "under",
        text: count
          ? `From your ${count === 1 ? "rating" : `${count} ratings`}, computed in this page; nothing leaves it.`
          : `and ten recommendations appear at once. They are computed in this page; nothing leaves it.`,
      }),
    ];
    if (count < WANTED_RATINGS) {
      const steps = Array.from({ length: WANTED_RATINGS }, (_, s) => make("i", { classes: s < count ? "done" : "" }));
      parts.push(make("div", { classes: "steps", role: "img", "aria-label": `${count} of ${WANTED_RATINGS} rated` }, ...steps));
    }
    if (count) {
      const lines = this.recommended().map(([i, , predicted]) => {
        if (!about.predicts_ratings) return lists.line(i, map);
        const text = this.model.clipped(predicted).toFixed(1);
        return lists.line(i, map, { value: [make("b", { text }), this.lists.isStars ? " ★" : ""], said: `, predicted ${text}` });
      });
      parts.push(this.orderControl());
      parts.push(make("ol", { id: "listed", "aria-label": "Recommended for you" }, ...lines));
      parts.push(make("h3", { id: "rated-title", text: "You rated" }));
      const rated = [...ratings].reverse().map(([i, rating]) => lists.ratingLine(i, map, rating, true));
      parts.push(make("ul", { id: "rated", "aria-labelledby": "rated-title" }, ...rated));
    }
    const offered = this.offered();
    if (offered.length) {
      parts.push(make("h3", { id: "offered-title", text: count ? `Rate another` : `Do you know these?` }));
      parts.push(
        make("ul", { id: "offered", "aria-labelledby": "offered-title" }, ...offered.map((i) => lists.ratingLine(i, map, undefined, false))),
        make("button", { classes: "action", type: "button", text: `Other ${about.nouns}`, on: { click: () => this.skip() } }),
      );
      if (count) parts.push(make("button", { classes: "action", type: "button", text: "Start again", on: { click: () => this.forget() } }));
      parts.push(make("p", { classes: "hint", text: `Or search one, and rate it there.` }));
    }
    $("you").replaceChildren(...parts);
    map.mark(this.ownMarks());
  }

  orderControl() {
    // Scores of a model that ranks know what is likely to be chosen.
    if (!this.about.lists) return "";
    const choices = [["propensity", "likely to be chosen, and liked"], ["mean", "highest predicted rating"]];
    const select = make(
      "select", { id: "order", on: { change: (event) => this.setStrategy(event.target.value) } },
      ...choices.map(([value, text]) => make("option", { value, text })),
    );
    select.value = this.strategy;
    return make("label", { classes: "order" }, make("span", { text: "Order" }), select);
  }

  setStrategy(strategy) {
    this.strategy = strategy;
    this.showYou();
    $("order").focus();
    this.say("The list is ordered anew.");
  }

  // Well-known items that are not rated yet.
  offered() {
    const known = [...this.map.order].slice(0, 400).filter((i) => !this.ratings.has(i) && this.data.counts[i] >= this.floor);
    if (!known.length) return [];
    const start = this.skipped % known.length;
    return [...known.slice(start), ...known.slice(0, start)].slice(0, OFFERED);
  }

  skip() {
    this.skipped += OFFERED;
    this.showYou();
    $("offered").querySelector("input, .like")?.focus({ preventScroll: true });
  }

  forget() {
    this.ratings.clear();
    this.showYou();
    this.showItem();
    this.toHash();
    $("you").querySelector("h2").focus();
  }

  openTab(name, reveal = true) {
    this.tab = name;
    for (const one of ["item", "you"]) {
      $(one).hidden = one !== name;
      $(`tab-${one}`).setAttribute("aria-selected", String(one === name));
      $(`tab-${one}`).tabIndex = one === name ? 0 : -1;
    }
    if (name === "you" && reveal) this.map.mark({ selected: null, near: [], ...this.ownMarks() });
    else this.showItem();
  }

  // ---------------------------------------------------------------------------------------------------------------
  // The address: #film=ID&rated=ID:RATING,...

  toHash() {
    const parts = [];
    const id = (item) => encodeURIComponent(this.items.ids[item]);
    if (this.selected !== null) parts.push(`${encodeURIComponent(this.about.noun)}=${id(this.selected)}`);
    if (this.ratings.size) parts.push(`rated=${[...this.ratings].map(([i, r]) => `${id(i)}:${trimmed(r)}`).join(",")}`);
    const hash = parts.join("&");
    if (location.hash.slice(1) === hash) return;
    this.ownHash = hash;
    location.hash = hash;
  }

  fromHash(first = false) {
    const hash = location.hash.slice(1);
    if (!first && hash === this.ownHash) return;
    this.ownHash = hash;
    let item = null;
    const ratings = new Map();
    for (const part of hash.split("&")) {
      const [name, value = ""] = part.split("=");
      try {
        if (decodeURIComponent(name) === this.about.noun) item = this.items.byId.get(decodeURIComponent(value)) ?? null;
        if (name === "rated") {
          for (const pair of value.split(",")) {
            const [id, rating] = pair.split(":");
            const one = this.items.byId.get(decodeURIComponent(id));
            if (one !== undefined && Number.isFinite(Number(rating)) && rating) ratings.set(one, this.model.clipped(Number(rating)));
          }
        }
      } catch {
        // A part that somebody has garbled says nothing.
      }
    }
    this.ratings = ratings;
    if (item === null && ratings.size) this.openTab("you");
    this.showYou();
    if (item !== this.selected || (item !== null && first)) this.select(item, { focus: !first, hash: false });
    if (item === null && ratings.size) this.openTab("you");
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Search

  found(text) {
    const box = $("found");
    const items = this.items.search(text, this.map.order, FOUND);
    this.matches = items;
    this.match = items.length ? 0 : -1;
    const typed = text.trim() !== "";
    box.hidden = !typed;
    $("search").setAttribute("aria-expanded", String(typed && items.length > 0));
    if (!typed) return;
    const lines = items.map((i, at) => {
      const about = [this.items.year(i), this.ratingsOf(i)].filter(Boolean).join(" · ");
      return make(
        "li", {
          id: `found-${at}`, role: "option", "data-item": String(i),
          on: { pointerdown: (event) => event.preventDefault(), click: () => this.take(at) },
        },
        make("span", { text: this.items.titles[i] }), " ", make("small", { text: about }),
      );
    });
    box.replaceChildren(...(lines.length ? lines : [make("li", { classes: "nothing", text: `No ${this.about.noun} of that name` })]));
    if (!lines.length) this.say(`No ${this.about.noun} of that name`);
    this.point(this.match);
  }

  point(at) {
    this.match = at;
    for (const [place, line] of [...$("found").querySelectorAll("[role=option]")].entries()) {
      line.setAttribute("aria-selected", String(place === at));
      if (place === at) line.scrollIntoView({ block: "nearest" });
    }
    if (at >= 0) $("search").setAttribute("aria-activedescendant", `found-${at}`);
    else $("search").removeAttribute("aria-activedescendant");
  }

  take(at) {
    const item = this.matches?.[at];
    if (item === undefined) return;
    this.closeSearch();
    $("search").value = "";
    this.select(item);
  }

  closeSearch() {
    $("found").hidden = true;
    $("search").setAttribute("aria-expanded", "false");
    $("search").removeAttribute("aria-activedescendant");
  }

  searchKey(event) {
    const count = this.matches?.length || 0;
    const open = !$("found").hidden;
    if (event.key === "ArrowDown" && count && open) this.point((this.match + 1) % count);
    else if (event.key === "ArrowUp" && count && open) this.point((this.match + count - 1) % count);
    else if (event.key === "Enter" && open) this.take(Math.max(this.match, 0));
    else if (event.key === "Escape") {
      if (open) this.closeSearch();
      else $("search").value = "";
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // ---------------------------------------------------------------------------------------------------------------

  tip(item, left, top) {
    const tip = $("tip");
    $("map").classList.toggle("over", item !== null);
    tip.hidden = item === null;
    if (item === null) return;
    const { items } = this;
    const said = [items.year(item), items.genres(item).join(", ")].filter(Boolean).join(" · ");
    const mean = items.means && !Number.isNaN(items.means[item]) ? `${items.means[item].toFixed(2)} on average, ` : "";
    tip.replaceChildren(
      make("strong", { text: items.titles[item] }), said ? make("span", { text: said }) : "",
      make("span", { text: `${mean}${this.ratingsOf(item)}` }),
    );
    const { width, height } = this.map.camera;
    const x = left + 16 + tip.offsetWidth > width ? left - 16 - tip.offsetWidth : left + 16;
    const y = Math.min(Math.max(top - tip.offsetHeight / 2, 6), height - tip.offsetHeight - 6);
    tip.style.transform = `translate(${Math.round(Math.max(x, 4))}px, ${Math.round(y)}px)`;
  }

  listen() {
    const { map } = this;
    map.onpick = (item) => this.select(item, { focus: map.keyboard, glide: false });
    map.onhover = (item, left, top) => this.tip(item, left, top);
    map.onmove = () => this.showView();
    $("zoom-in").onclick = () => map.zoom(1.5);
    $("zoom-out").onclick = () => map.zoom(1 / 1.5);
    $("zoom-fit").onclick = () => map.fit();
    $("theme").onclick = () => {
      this.setTheme(this.theme.name === "dark" ? "light" : "dark");
      this.classes();
      this.showItem();
      this.showYou();
    };
    $("scheme").onchange = () => this.setScheme($("scheme").value);
    $("floor").oninput = () => this.setFloor(this.floors[Number($("floor").value)]);
    $("legend").ontoggle = () => map.resize();
    const search = $("search");
    search.oninput = () => this.found(search.value);
    search.onfocus = () => this.found(search.value);
    search.onblur = () => this.closeSearch();
    search.onkeydown = (event) => this.searchKey(event);
    const tabs = ["item", "you"];
    for (const name of tabs) {
      $(`tab-${name}`).onclick = () => this.openTab(name);
      $(`tab-${name}`).onkeydown = (event) => {
        if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
        const other = tabs[1 - tabs.indexOf(name)];
        this.openTab(other);
        $(`tab-${other}`).focus();
      };
    }
    window.addEventListener("hashchange", () => this.fromHash());
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName || "")) {
        event.preventDefault();
        search.focus();
        search.select();
      } else if (event.key === "Escape" && this.selected !== null) this.select(null);
    });
  }
}

// `explorer` is for scripts that look at the page, such as its tests: a promise of the page.
window.explorer = readData().then(
  (data) => new Page(data),
  (error) => {
    $("loading").textContent = "This page needs a browser of 2023 or later.";
    throw error;
  },
);
