// What is written and drawn above the points: titles that do not overlap, rings, lines from an item to its neighbours.

const LABEL_SIZE = 12; // CSS pixels
const LABEL_AREA = 19000; // square CSS pixels of the map for each title, at least
const MAX_TRIED = 300; // items whose titles are tried in a frame
const LABEL_GAP = 4;
const LINE_HEIGHT = 14;
const LINE_LETTERS = 24; // longer titles take two lines, of at most twice as many letters
const MAX_LETTERS = 64;

// The lines of a title on the map: without what stands in parentheses at its end where it is long, in two where it does not
// fit one, broken at the blank nearest to the middle.
function titleLines(title) {
  let text = title;
  if (text.length > LINE_LETTERS) text = text.replace(/(\S)\s+\([^()]*\)$/, "$1").replace(/(\S)\s+\(.*\)$/, "$1");
  if (text.length > MAX_LETTERS) text = text.slice(0, MAX_LETTERS - 1).trimEnd() + "…";
  if (text.length <= LINE_LETTERS) return [text];
  const blanks = [...text.matchAll(/ /g)].map((found) => found.index);
  const middle = text.length / 2;
  // After a colon or a dash a line ends best.
  const cost = (at) => Math.abs(at - middle) - (/[:,–-]/.test(text[at - 1]) ? 6 : 0) + (/[–-]/.test(text[at + 1]) ? 4 : 0);
  if (!blanks.length) return [text];
  const at = blanks.reduce((a, b) => (cost(b) < cost(a) ? b : a));
  return [text.slice(0, at), text.slice(at + 1)];
}

class Overlay {
  constructor(canvas, titles, font) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.titles = titles;
    this.family = font;
    this.texts = new Map(); // by item: [lines, width, width in bold]
    this.sides = new Map(); // by item: where its title stood in the last frame, to stay there
  }

  text(item, bold) {
    let found = this.texts.get(item);
    if (!found) {
      found = [titleLines(this.titles[item]), 0, 0];
      this.texts.set(item, found);
    }
    if (!found[bold ? 2 : 1]) {
      this.context.font = this.font(bold);
      found[bold ? 2 : 1] = Math.max(...found[0].map((line) => this.context.measureText(line).width));
    }
    return { lines: found[0], width: found[bold ? 2 : 1] };
  }

  font(bold) {
    return `${bold ? 600 : 500} ${LABEL_SIZE}px ${this.family}`;
  }

  // The boxes that a title may take beside a point, the first choice first: [left, top, width, height].
  boxes(x, y, radius, width, high) {
    const gap = radius + 3;
    return [
      [x + gap, y - high / 2, width, high],
      [x - gap - width, y - high / 2, width, high],
      [x - width / 2, y + gap, width, high],
      [x - width / 2, y - gap - high, width, high],
    ];
  }

  // Returns where the title goes, or null where all sides are taken; the box is taken from then on. Marked points are kept free
  // where another side is, and one that must be written covers what it has to.
  put(item, x, y, radius, bold, must, size) {
    const { lines, width } = this.text(item, bold);
    const boxes = this.boxes(x, y, radius, width, lines.length * LINE_HEIGHT);
    const before = this.sides.get(item);
    const sides = before === undefined ? [0, 1, 2, 3] : [before, ...[0, 1, 2, 3].filter((s) => s !== before)];
    const fits = (box) => !this.taken.some((other) => overlap(box, other));
    const inside = (box) => box[0] >= 2 && box[1] >= 2 && box[0] + box[2] <= size[0] - 2 && box[1] + box[3] <= size[1] - 2;
    const clear = (box) => !this.discs.some((other) => overlap(box, other));
    let side = sides.find((s) => inside(boxes[s]) && fits(boxes[s]) && clear(boxes[s]));
    if (side === undefined && bold) side = sides.find((s) => inside(boxes[s]) && fits(boxes[s]));
    if (side === undefined && must) side = sides.find((s) => inside(boxes[s]));
    if (side === undefined) return null;
    this.sides.set(item, side);
    this.taken.push(boxes[side]);
    return { item, lines, box: boxes[side], side };
  }

  write(placed, bold, ink, paper, alpha) {
    const { context } = this;
    context.font = this.font(bold);
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 3.5;
    context.globalAlpha = alpha;
    context.strokeStyle = paper;
    context.fillStyle = ink;
    const aligned = ["left", "right", "center", "center"];
    for (const stroke of [true, false]) {
      for (const { lines, box, side } of placed) {
        context.textAlign = aligned[side];
        const x = box[0] + box[2] * [0, 1, 0.5, 0.5][side];
        lines.forEach((line, l) => {
          const y = box[1] + (l + 0.5) * LINE_HEIGHT + 0.5;
          if (stroke) context.strokeText(line, x, y);
          else context.fillText(line, x, y);
        });
      }
    }
    context.globalAlpha = 1;
  }

  // map: the ItemMap; marks: { selected, near, listed, rated }, items each.
  draw(map, marks, obstacles) {
    const { context, canvas } = this;
    const { camera, ratio } = map;
    const { ink, quiet, paper, accent } = map.theme;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, canvas.width / ratio, canvas.height / ratio);
    this.taken = [...obstacles];
    this.discs = [];
    const size = [camera.width, camera.height];
    const sought = marks.selected !== null || marks.listed.length > 0;
    if (marks.selected !== null) {
      const [x, y] = map.screen(marks.selected);
      context.strokeStyle = accent;
      context.globalAlpha = 0.45;
      context.lineWidth = 1.25;
      context.beginPath();
      for (const item of marks.near) {
        context.moveTo(x, y);
        context.lineTo(...map.screen(item));
      }
      context.stroke();
      context.globalAlpha = 1;
    }
    const marked = [...marks.rated, ...marks.listed, ...marks.near];
    if (marks.selected !== null) marked.push(marks.selected);
    for (const item of new Set(marked)) {
      const [x, y] = map.screen(item);
      const radius = Math.max(map.radius(item), 4);
      disc(context, x, y, radius, map.colourOf(item), paper);
      // The square in a disc, nearly: a title may touch its rim.
      this.discs.push([x - 0.8 * radius, y - 0.8 * radius, 1.6 * radius, 1.6 * radius]);
      if (item === marks.selected) ring(context, x, y, radius + 4, accent, 2.5);
      else if (marks.near.includes(item) || marks.listed.includes(item)) ring(context, x, y, radius + 2.5, ink, 1.5);
      else ring(context, x, y, radius + 2.5, quiet, 1.25, [3, 2]);
    }
    if (map.focused && map.keyboard) cross(context, camera.width / 2, camera.height / 2, accent);
    if (map.hovered !== null) {
      const [x, y] = map.screen(map.hovered);
      ring(context, x, y, Math.max(map.radius(map.hovered), 4) + 2, ink, 1.5);
    }
    const bold = [];
    for (const item of new Set([...marked].reverse())) {
      const [x, y] = map.screen(item);
      if (x < 0 || y < 0 || x > size[0] || y > size[1]) continue;
      const placed = this.put(item, x, y, Math.max(map.radius(item), 4) + 3, true, item === marks.selected, size);
      if (placed) bold.push(placed);
    }
    const plain = this.titlesOfTheMostRated(map, new Set(marked), size);
    this.write(plain, false, sought ? quiet : ink, paper, sought ? 0.55 : 1);
    this.write(bold, true, ink, paper, 1);
    this.written = { plain: plain.map((p) => p.item), bold: bold.map((p) => p.item), taken: this.taken };
  }

  // Titles of the most rated items, as far as there is room; those a little outside of the map hold their place, so that
  // titles do not jump when it is moved.
  titlesOfTheMostRated(map, marked, size) {
    const most = Math.max(6, Math.round((size[0] * size[1]) / LABEL_AREA));
    const placed = [];
    const margin = 60;
    const { scale } = map.camera;
    const left = map.camera.x - (size[0] / 2 + margin) / scale;
    const right = map.camera.x + (size[0] / 2 + margin) / scale;
    const top = map.camera.y - (size[1] / 2 + margin) / scale;
    const bottom = map.camera.y + (size[1] / 2 + margin) / scale;
    let tried = 0;
    for (const item of map.order) {
      if (placed.length >= most || tried >= MAX_TRIED) break;
      if (!map.lit[item] || map.x[item] < left || map.x[item] > right || map.y[item] < top || map.y[item] > bottom) continue;
      if (marked.has(item)) continue;
      tried++;
      const [x, y] = map.screen(item);
      const found = this.put(item, x, y, map.radius(item), false, false, size);
      if (found) placed.push(found);
    }
    return placed;
  }
}

function overlap(a, b) {
  return (
    a[0] < b[0] + b[2] + LABEL_GAP && b[0] < a[0] + a[2] + LABEL_GAP && a[1] < b[1] + b[3] + 1 && b[1] < a[1] + a[3] + 1
  );
}

function disc(context, x, y, radius, fill, paper) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = fill;
  context.fill();
  context.lineWidth = 1;
  context.strokeStyle = paper;
  context.stroke();
}

function ring(context, x, y, radius, colour, width, dash = []) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.setLineDash(dash);
  context.lineWidth = width;
  context.strokeStyle = colour;
  context.stroke();
  context.setLineDash([]);
}

function cross(context, x, y, colour) {
  context.beginPath();
  for (const [dx, dy] of [[1, 0], [0, 1]]) {
    for (const sign of [-1, 1]) {
      context.moveTo(x + sign * 5 * dx, y + sign * 5 * dy);
      context.lineTo(x + sign * 13 * dx, y + sign * 13 * dy);
    }
  }
  context.lineWidth = 2;
  context.strokeStyle = colour;
  context.stroke();
}
