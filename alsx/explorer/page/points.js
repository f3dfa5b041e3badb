// Drawing the points: by WebGL, or where there is none into the pixels of a canvas. Both are told the same things:
// setPoints(x, y, order), setSizes(radii), setColours(rgba), draw(camera, look).

const VERTEX = `
attribute vec2 place;
attribute float radius;
attribute vec4 colour;
uniform vec2 centre, scale;
uniform float grow, ratio;
varying vec4 fill;
varying float size;
void main() {
  size = 2.0 * (radius * grow + 0.5) * ratio;
  fill = colour;
  gl_PointSize = size;
  gl_Position = colour.a > 0.0 ? vec4((place - centre) * scale, 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
}`;
const FRAGMENT = `
precision mediump float;
uniform vec3 edge;
uniform float rim, fade;
varying vec4 fill;
varying float size;
void main() {
  float radius = 0.5 * size - 0.5;
  float distance = length(gl_PointCoord - 0.5) * size;
  float cover = clamp(radius - distance + 0.5, 0.0, 1.0) * fill.a * fade;
  float border = size > 6.0 ? clamp(distance - radius + rim + 0.5, 0.0, 1.0) : 0.0;
  gl_FragColor = vec4(mix(fill.rgb, edge, border), 1.0) * cover;
}`;

// Browsers do not all keep to failIfMajorPerformanceCaveat.
function isSoftware(gl) {
  const known = gl.getExtension("WEBGL_debug_renderer_info");
  const names = [gl.getParameter(gl.RENDERER), known && gl.getParameter(known.UNMASKED_RENDERER_WEBGL)];
  return names.some((name) => /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name || ""));
}

class PointsGL {
  constructor(canvas) {
    this.canvas = canvas;
    const gl = canvas.getContext("webgl", {
      antialias: false, alpha: true, powerPreference: "low-power", failIfMajorPerformanceCaveat: true,
    });
    if (!gl || isSoftware(gl)) {
      gl?.getExtension("WEBGL_lose_context")?.loseContext();
      throw new Error("no WebGL that is faster than the processor");
    }
    this.gl = gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error("no WebGL program");
    gl.useProgram(program);
    this.at = {};
    for (const name of ["centre", "scale", "grow", "ratio", "edge", "rim", "fade"]) {
      this.at[name] = gl.getUniformLocation(program, name);
    }
    this.buffers = {};
    for (const [name, size, type] of [["place", 2, gl.FLOAT], ["radius", 1, gl.FLOAT], ["colour", 4, gl.UNSIGNED_BYTE]]) {
      const buffer = gl.createBuffer();
      const where = gl.getAttribLocation(program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(where);
      gl.vertexAttribPointer(where, size, type, type === gl.UNSIGNED_BYTE, 0, 0);
      this.buffers[name] = buffer;
    }
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.clearColor(0, 0, 0, 0);
  }

  get kind() {
    return "WebGL";
  }

  fill(name, array) {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, array, name === "place" ? gl.STATIC_DRAW : gl.DYNAMIC_DRAW);
  }

  setPoints(x, y, order) {
    this.order = order;
    const places = new Float32Array(2 * order.length);
    order.forEach((i, at) => {
      places[2 * at] = x[i];
      places[2 * at + 1] = y[i];
    });
    this.fill("place", places);
  }

  setSizes(radii) {
    this.fill("radius", Float32Array.from(this.order, (i) => radii[i]));
  }

  setColours(rgba) {
    const ordered = new Uint32Array(this.order.length);
    const given = new Uint32Array(rgba.buffer);
    this.order.forEach((i, at) => (ordered[at] = given[i]));
    this.fill("colour", new Uint8Array(ordered.buffer));
  }

  draw(camera, look) {
    const { gl, at, canvas } = this;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(at.centre, camera.x, camera.y);
    gl.uniform2f(at.scale, (2 * camera.scale) / camera.width, (-2 * camera.scale) / camera.height);
    gl.uniform1f(at.grow, look.grow);
    gl.uniform1f(at.ratio, look.ratio);
    gl.uniform1f(at.rim, look.ratio);
    gl.uniform1f(at.fade, look.fade);
    gl.uniform3f(at.edge, ...look.paper.map((c) => c / 255));
    gl.drawArrays(gl.POINTS, 0, this.order.length);
  }
}

// Discs blended into pixels by hand: paths of a canvas take ten times as long for 90,000 of them. It is also faster than WebGL
// without a graphics card.
const MIN_COVER = 0.12;

class PointsCanvas {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.masks = [];
  }

  get kind() {
    return "Canvas";
  }

  setPoints(x, y, order) {
    this.order = order;
    this.x = Float32Array.from(order, (i) => x[i]);
    this.y = Float32Array.from(order, (i) => y[i]);
  }

  setSizes(radii) {
    this.radii = Float32Array.from(this.order, (i) => radii[i]);
  }

  setColours(rgba) {
    const given = new Uint32Array(rgba.buffer);
    this.colours = Uint32Array.from(this.order, (i) => given[i]);
  }

  // The pixels of a disc of a radius in quarters of a pixel: where they are, and how much of them it covers, of 256.
  mask(quarters) {
    if (!this.masks[quarters]) {
      const radius = quarters / 4;
      const half = Math.ceil(radius);
      const [dx, dy, cover] = [[], [], []];
      for (let y = -half; y <= half; y++) {
        for (let x = -half; x <= half; x++) {
          const share = Math.min(Math.max(radius - Math.hypot(x, y) + 0.5, 0), 1);
          // The corners of the smallest discs are hardly seen, and half of their pixels.
          if (share > MIN_COVER) {
            dx.push(x);
            dy.push(y);
            cover.push(Math.round(256 * share));
          }
        }
      }
      const steps = Int32Array.from(dx, (x, at) => dy[at] * this.width + x);
      this.masks[quarters] = { half, dx: Int16Array.from(dx), dy: Int16Array.from(dy), cover: Uint16Array.from(cover), steps };
    }
    return this.masks[quarters];
  }

  disc(quarters, left, top, ink, alpha) {
    const { words, width, height } = this;
    const { half, dx, dy, cover, steps } = this.masks[quarters] || this.mask(quarters);
    const whole = left >= half && top >= half && left + half < width && top + half < height;
    const centre = top * width + left;
    const inkOdd = ink & 0x00ff00ff;
    const inkEven = (ink >>> 8) & 0xff;
    for (let at = 0; at < steps.length; at++) {
      if (!whole) {
        const column = left + dx[at];
        const row = top + dy[at];
        if (column < 0 || row < 0 || column >= width || row >= height) continue;
      }
      const to = centre + steps[at];
      const share = (cover[at] * alpha) >> 8;
      const under = words[to];
      // Red and blue at once, of 256: 8 bits each between them are free for the products.
      const odd = (Math.imul(under & 0x00ff00ff, 256 - share) + Math.imul(inkOdd, share)) >>> 8;
      const even = (Math.imul((under >>> 8) & 0xff, 256 - share) + Math.imul(inkEven, share)) >>> 8;
      words[to] = 0xff000000 | (odd & 0x00ff00ff) | (even << 8);
    }
  }

  draw(camera, look) {
    const { canvas, context, x, y, radii, colours } = this;
    const { width, height } = canvas;
    if (this.width !== width || this.height !== height) {
      this.image = context.createImageData(width, height);
      this.words = new Uint32Array(this.image.data.buffer);
      this.masks = []; // whose steps go from row to row
      Object.assign(this, { width, height });
    }
    const paper = (255 << 24) | (look.paper[2] << 16) | (look.paper[1] << 8) | look.paper[0];
    this.words.fill(paper);
    const scale = camera.scale * look.ratio;
    const grow = 4 * look.grow * look.ratio;
    const reach = 80;
    for (let at = 0; at < x.length; at++) {
      const alpha = colours[at] >>> 24;
      if (alpha === 0) continue;
      const left = Math.round((x[at] - camera.x) * scale + width / 2);
      const top = Math.round((y[at] - camera.y) * scale + height / 2);
      if (left < -reach || top < -reach || left > width + reach || top > height + reach) continue;
      const share = Math.round(alpha * look.fade);
      const quarters = Math.round(radii[at] * grow);
      // A rim parts large discs from those below.
      if (quarters > 10) this.disc(quarters + 4, left, top, paper, share);
      this.disc(quarters, left, top, colours[at], share);
    }
    context.putImageData(this.image, 0, 0);
  }
}

// A canvas that gave a context of one kind gives none of the other.
function freshCanvas(canvas) {
  const fresh = canvas.cloneNode();
  canvas.replaceWith(fresh);
  return fresh;
}

function makePoints(canvas) {
  try {
    return new PointsGL(canvas);
  } catch {
    return new PointsCanvas(freshCanvas(canvas));
  }
}
