// The map: where it is looked at from, what is shown of it, and what hands and keys do with it.

const PADDING = 0.05; // of its width, round the whole map, and at most so many CSS pixels:
const MAX_PADDING = 36;
const PICK_REACH = 10; // CSS pixels beyond a point's rim that still mean it
const CELLS = 128; // of the grid that points are found by, on either side
const MAX_ZOOM = 60;
const MAX_STRETCH = 2.5;
const AREA_EXPONENT = 0.65; // of a point's area against its number of ratings, as in alsx.plot

class ItemMap {
  constructor(element, data, titles) {
    const { about, places, counts } = data;
    this.element = element;
    this.n = about.n;
    this.counts = counts;
    this.camera = { x: 0.5, y: 0.5, scale: 1, width: 1, height: 1 };
    this.measure();
    this.aspect = this.chooseAspect(about);
    this.camera.y = this.aspect / 2;
    this.x = new Float32Array(this.n);
    this.y = new Float32Array(this.n);
    for (let i = 0; i < this.n; i++) {
      this.x[i] = places[2 * i] / 65535;
      this.y[i] = this.aspect * (1 - places[2 * i + 1] / 65535);
    }
    // The most rated first: large points lie below small ones, and their titles are written first.
    this.order = Uint32Array.from({ length: this.n }, (_, i) => i).sort((a, b) => counts[b] - counts[a] || a - b);
    this.lit = new Uint8Array(this.n);
    this.radii = new Float32Array(this.n);
    this.points = makePoints(element.querySelector("#points"));
    this.overlay = new Overlay(
      element.querySelector("#overlay"), titles, getComputedStyle(document.body).fontFamily || "sans-serif",
    );
    this.points.setPoints(this.x, this.y, this.order);
    // Browsers take the graphics card away from pages that were not looked at for long.
    this.points.canvas.addEventListener("webglcontextlost", () => {
      this.points = new PointsCanvas(freshCanvas(this.points.canvas));
      this.points.setPoints(this.x, this.y, this.order);
      if (!this.scheme) return;
      this.setSizes();
      this.show({});
    });
    this.marks = { selected: null, near: [], listed: [], rated: [] };
    this.hovered = null;
    this.keyboard = false;
    this.floor = 0;
    this.chosen = new Set();
    this.frames = 0;
    this.makeGrid();
    new ResizeObserver(() => this.resize()).observe(element);
    this.listen();
  }

  // ---------------------------------------------------------------------------------------------------------------
  // What is shown

  show({ scheme = this.scheme, chosen = this.chosen, floor = this.floor, theme = this.theme }) {
    const resized = floor !== this.floor || !this.scheme;
    Object.assign(this, { scheme, chosen, floor, theme });
    const rgba = new Uint8Array(4 * this.n);
    const inks = scheme.classes.map((one) => rgb(one[theme.name]));
    this.n_lit = 0;
    for (let i = 0; i < this.n; i++) {
      const enough = this.counts[i] >= floor;
      const c = scheme.of[i];
      this.lit[i] = enough && (!chosen.size || chosen.has(c)) ? 1 : 0;
      this.n_lit += this.lit[i];
      if (!enough) continue;
      const ink = this.lit[i] ? inks[c] : theme.rgb.quiet;
      rgba.set(ink, 4 * i);
      rgba[4 * i + 3] = this.lit[i] ? 235 : 28;
    }
    this.points.setColours(rgba);
    if (resized) this.setSizes();
    this.draw();
  }

  setSizes() {
    const shown = this.counts.reduce((sum, c) => sum + (c >= this.floor), 0);
    const side = this.fitScale * Math.sqrt(this.aspect); // of a square as large as the whole map
    const room = Math.min(1, Math.max(0.5, side / 900));
    const largest = room * Math.min(Math.max(13 * (1300 / Math.max(shown, 1)) ** 0.25, 7), 16);
    const most = Math.max(this.counts[this.order[0]], 1);
    const least = Math.max(0.17 * largest, shown > 20000 ? 1 : 1.6);
    for (let i = 0; i < this.n; i++) {
      this.radii[i] = Math.max(largest * (this.counts[i] / most) ** (AREA_EXPONENT / 2), least);
    }
    this.points.setSizes(this.radii);
  }

  mark(marks) {
    Object.assign(this.marks, marks);
    this.draw();
  }

  colourOf(item) {
    return this.scheme.classes[this.scheme.of[item]][this.theme.name];
  }

  get grow() {
    return Math.min((this.camera.scale / this.fitScale) ** 0.35, 2.4);
  }

  radius(item) {
    return this.radii[item] * this.grow;
  }

  screen(item) {
    const { x, y, scale, width, height } = this.camera;
    return [(this.x[item] - x) * scale + width / 2, (this.y[item] - y) * scale + height / 2];
  }

  // Calls per second are those of the screen: a frame is drawn when something has changed.
  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.drawNow();
    });
  }

  drawNow() {
    if (!this.scheme || this.camera.width < 2) return;
    const sought = this.marks.selected !== null || this.marks.listed.length > 0;
    this.points.draw(this.camera, {
      grow: this.grow, ratio: this.ratio, fade: sought ? 0.32 : 1, paper: this.theme.rgb.paper,
    });
    this.overlay.draw(this, this.marks, this.obstacles || []);
    this.frames++;
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Where it is looked at from

  get padding() {
    return Math.min(PADDING * this.camera.width, MAX_PADDING);
  }

  get fitScale() {
    const { width, height } = this.camera;
    return Math.max(Math.min(width - this.inset - 2 * this.padding, (height - 2 * this.padding) / this.aspect), 20);
  }

  // How large the map is, and what lies on it.
  measure() {
    const { clientWidth: width, clientHeight: height } = this.element;
    Object.assign(this.camera, { width, height });
    const corner = this.element.getBoundingClientRect();
    this.obstacles = [...this.element.parentElement.querySelectorAll(".card:not(#tip)")].map((card) => {
      const box = card.getBoundingClientRect();
      return [box.left - corner.left, box.top - corner.top, box.width, box.height];
    });
    // An open legend on the left of a wide map leaves it the rest of the width; CSS pixels.
    const legend = this.element.parentElement.querySelector("details[open]");
    this.inset = legend && legend.offsetWidth < width / 3 ? legend.offsetWidth + 14 : 0;
  }

  // Height over width. Directions and long distances of an embedding mean nothing, so that it may fill the map, as in alsx.plot.
  chooseAspect(about) {
    const { width, height } = this.camera;
    const room = (height - 2 * this.padding) / Math.max(width - this.inset - 2 * this.padding, 1);
    const own = Math.min(Math.max(about.aspect, 0.25), 4);
    return about.placed_by === "embedding" ? Math.min(Math.max(room, own / MAX_STRETCH), MAX_STRETCH * own) : own;
  }

  resize() {
    const { camera } = this;
    const first = !this.ratio;
    const zoom = first ? 1 : camera.scale / this.fitScale;
    const whole = first || Math.abs(zoom - 1) < 1e-6;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    this.ratio = ratio;
    this.measure();
    camera.scale = zoom * this.fitScale;
    if (whole) Object.assign(camera, this.centred(0.5, this.aspect / 2, camera.scale));
    for (const canvas of this.element.querySelectorAll("canvas")) {
      canvas.width = Math.max(1, Math.round(camera.width * ratio));
      canvas.height = Math.max(1, Math.round(camera.height * ratio));
    }
    if (this.scheme) this.setSizes();
    // At once: a canvas is empty once its size was set.
    this.drawNow();
  }

  look(x, y, scale) {
    const { camera } = this;
    camera.scale = Math.min(Math.max(scale, 0.7 * this.fitScale), MAX_ZOOM * this.fitScale);
    camera.x = Math.min(Math.max(x, -0.5 * this.inset / camera.scale), 1);
    camera.y = Math.min(Math.max(y, 0), this.aspect);
    this.draw();
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.onmove?.(), 200);
  }

  pan(dx, dy) {
    const { x, y, scale } = this.camera;
    this.look(x - dx / scale, y - dy / scale, scale);
  }

  // What lies at this place of the element stays there.
  zoom(factor, left = this.camera.width / 2, top = this.camera.height / 2) {
    const { camera } = this;
    const dx = left - camera.width / 2;
    const dy = top - camera.height / 2;
    const x = camera.x + dx / camera.scale;
    const y = camera.y + dy / camera.scale;
    const scale = Math.min(Math.max(camera.scale * factor, 0.7 * this.fitScale), MAX_ZOOM * this.fitScale);
    this.look(x - dx / scale, y - dy / scale, scale);
  }

  // Where to look at so that a place is in the middle of what the legend leaves free.
  centred(x, y, scale) {
    return { x: x - this.inset / (2 * scale), y, scale };
  }

  fit() {
    this.glide(0.5, this.aspect / 2, this.fitScale);
  }

  // Shows these items, in the middle and not nearer than need be.
  frame(items) {
    let [left, right, top, bottom] = [1, 0, this.aspect, 0];
    for (const i of items) {
      left = Math.min(left, this.x[i]);
      right = Math.max(right, this.x[i]);
      top = Math.min(top, this.y[i]);
      bottom = Math.max(bottom, this.y[i]);
    }
    const { width, height } = this.camera;
    const wide = Math.max(right - left, 1e-6);
    const high = Math.max(bottom - top, 1e-6);
    const scale = Math.min((width - this.inset - 4 * this.padding) / wide, (height - 4 * this.padding) / high, 6 * this.fitScale);
    this.glide((left + right) / 2, (top + bottom) / 2, Math.max(scale, this.fitScale * 0.9));
  }

  glide(toX, toY, toScale) {
    const { x, y, scale } = this.centred(toX, toY, toScale);
    const from = { ...this.camera };
    this.gliding = null;
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.look(x, y, scale);
      return;
    }
    const start = performance.now();
    const gliding = {};
    this.gliding = gliding;
    const step = (now) => {
      if (this.gliding !== gliding) return;
      const t = Math.min((now - start) / 450, 1);
      const s = t < 0 ? 0 : t * t * (3 - 2 * t);
      this.look(from.x + s * (x - from.x), from.y + s * (y - from.y), from.scale * (scale / from.scale) ** s);
      if (t < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Which item is meant

  makeGrid() {
    const cells = new Int32Array(CELLS * CELLS + 1);
    const cell = (i) => this.cellAt(this.x[i], this.y[i]);
    for (let i = 0; i < this.n; i++) cells[cell(i) + 1]++;
    for (let c = 0; c < CELLS * CELLS; c++) cells[c + 1] += cells[c];
    const next = cells.slice(0, -1);
    this.inCells = new Uint32Array(this.n);
    for (let i = 0; i < this.n; i++) this.inCells[next[cell(i)]++] = i;
    this.cells = cells;
  }

  cellAt(x, y) {
    const column = Math.min(Math.max(Math.floor(x * CELLS), 0), CELLS - 1);
    const row = Math.min(Math.max(Math.floor((y / this.aspect) * CELLS), 0), CELLS - 1);
    return row * CELLS + column;
  }

  // The item whose rim is nearest to a place of the element, within reach; null where there is none.
  at(left, top, reach = PICK_REACH) {
    const { camera } = this;
    const x = camera.x + (left - camera.width / 2) / camera.scale;
    const y = camera.y + (top - camera.height / 2) / camera.scale;
    const far = (reach + this.radius(this.order[0])) / camera.scale;
    const first = this.cellAt(x - far, y - far);
    const last = this.cellAt(x + far, y + far);
    let best = null;
    let least = reach;
    for (let row = Math.floor(first / CELLS); row <= Math.floor(last / CELLS); row++) {
      const begin = this.cells[row * CELLS + (first % CELLS)];
      const end = this.cells[row * CELLS + (last % CELLS) + 1];
      for (let place = begin; place < end; place++) {
        const i = this.inCells[place];
        if (!this.lit[i]) continue;
        const distance = Math.hypot(this.x[i] - x, this.y[i] - y) * camera.scale - this.radius(i);
        // Small points lie above large ones.
        if (distance < least || (distance <= 0 && best !== null && this.radii[i] < this.radii[best])) {
          best = i;
          least = Math.max(distance, 0);
        }
      }
    }
    for (const i of [this.marks.selected, ...this.marks.near, ...this.marks.listed]) {
      if (i === null) continue;
      const [left_, top_] = this.screen(i);
      if (Math.hypot(left_ - left, top_ - top) <= Math.max(this.radius(i), 4) + 3) best = i;
    }
    return best;
  }

  // The most rated items that are lit and within the map.
  inView(count) {
    const found = [];
    for (const i of this.order) {
      if (found.length === count) break;
      if (!this.lit[i]) continue;
      const [x, y] = this.screen(i);
      if (x >= 0 && y >= 0 && x <= this.camera.width && y <= this.camera.height) found.push(i);
    }
    return found;
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Hands and keys; the page sets onhover(item, left, top), onpick(item) and onmove()

  listen() {
    const { element } = this;
    const fingers = new Map();
    let moved = 0;
    const place = (event) => {
      const box = element.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const between = () => {
      const [a, b] = [...fingers.values()];
      return [Math.hypot(a[0] - b[0], a[1] - b[1]), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    };
    element.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      this.gliding = null;
      this.keyboard = false;
      if (!fingers.size) moved = 0;
      element.setPointerCapture?.(event.pointerId);
      fingers.set(event.pointerId, place(event));
    });
    element.addEventListener("pointermove", (event) => {
      const now = place(event);
      const before = fingers.get(event.pointerId);
      if (!before) {
        if (event.pointerType !== "touch") this.hover(this.at(...now), ...now);
        return;
      }
      if (fingers.size === 1) {
        moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
        fingers.set(event.pointerId, now);
        if (moved > 4) {
          this.hover(null);
          element.classList.add("moving");
          this.pan(now[0] - before[0], now[1] - before[1]);
        }
      } else if (fingers.size === 2) {
        moved = Infinity; // two fingers mean no item
        const [apart, x, y] = between();
        fingers.set(event.pointerId, now);
        const [apartNow, xNow, yNow] = between();
        this.pan(xNow - x, yNow - y);
        this.zoom(apartNow / Math.max(apart, 1), xNow, yNow);
      }
    });
    const end = (event) => {
      const known = fingers.delete(event.pointerId);
      element.classList.remove("moving");
      if (known && event.type === "pointerup" && !fingers.size && moved <= 4) {
        this.onpick?.(this.at(...place(event), event.pointerType === "touch" ? 2 * PICK_REACH : PICK_REACH));
      }
    };
    for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, end);
    element.addEventListener("pointerleave", () => this.hover(null));
    element.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.gliding = null;
        // Lines and pages of older mice; a pinch on a touch pad comes as a wheel with ctrl, in small steps.
        const unit = [1, 18, 400][event.deltaMode] || 1;
        const strength = event.ctrlKey ? 0.01 : 0.0018;
        this.zoom(Math.exp(-strength * Math.max(-240, Math.min(240, event.deltaY * unit))), ...place(event));
      },
      { passive: false },
    );
    element.addEventListener("dblclick", (event) => this.zoom(2, ...place(event)));
    element.addEventListener("focus", () => {
      this.focused = true;
      this.keyboard = element.matches(":focus-visible");
      this.draw();
    });
    element.addEventListener("blur", () => {
      this.focused = false;
      this.draw();
    });
    element.addEventListener("keydown", (event) => this.key(event));
  }

  hover(item, left, top) {
    if (item === this.hovered && item === null) return;
    const changed = item !== this.hovered;
    this.hovered = item;
    this.onhover?.(item, left, top);
    if (changed) this.draw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 200 : 60;
    const { width, height } = this.camera;
    const actions = {
      ArrowLeft: () => this.pan(step, 0), ArrowRight: () => this.pan(-step, 0),
      ArrowUp: () => this.pan(0, step), ArrowDown: () => this.pan(0, -step),
      "+": () => this.zoom(1.3), "=": () => this.zoom(1.3), "-": () => this.zoom(1 / 1.3), _: () => this.zoom(1 / 1.3),
      0: () => this.fit(), Home: () => this.fit(),
      Enter: () => this.onpick?.(this.at(width / 2, height / 2, Math.max(width, height))),
      " ": () => this.onpick?.(this.at(width / 2, height / 2, Math.max(width, height))),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    this.gliding = null;
    this.keyboard = true;
    action();
    this.draw();
  }
}
