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

class PointsGL {
  constructor(canvas) {
    this.canvas = canvas;
    const gl = canvas.getContext("webgl", { antialias: false, alpha: true, powerPreference: "low-power" });
    if (!gl) throw new Error("no WebGL");
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

// Discs blended into pixels by hand: the paths of a canvas take ten times as long for 90,000 of them.
class PointsCanvas {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.masks = new Map();
  }

  get kind() {
    return "Canvas";
  }

  setPoints(x, y, order) {
    Object.assign(this, { x, y, order });
  }

  setSizes(radii) {
    this.radii = radii;
  }

  setColours(rgba) {
    this.rgba = rgba;
  }

  // How much of each pixel a disc covers, of 255, radius in quarters of a pixel.
  mask(quarters) {
    let mask = this.masks.get(quarters);
    if (!mask) {
      const radius = quarters / 4;
      const half = Math.ceil(radius);
      const width = 2 * half + 1;
      const cover = new Uint8Array(width * width);
      const border = new Uint8Array(width * width);
      for (let at = 0; at < cover.length; at++) {
        const distance = Math.hypot((at % width) - half, Math.floor(at / width) - half);
        cover[at] = 255 * Math.min(Math.max(radius - distance + 0.5, 0), 1);
        if (radius > 2.5) border[at] = 255 * Math.min(Math.max(distance - radius + 1.5, 0), 1);
      }
      mask = { half, width, cover, border };
      this.masks.set(quarters, mask);
    }
    return mask;
  }

  draw(camera, look) {
    const { canvas, context, x, y, radii, rgba } = this;
    const { width, height } = canvas;
    if (!this.image || this.image.width !== width || this.image.height !== height) {
      this.image = context.createImageData(width, height);
      this.words = new Uint32Array(this.image.data.buffer);
    }
    const pixels = this.image.data;
    const paper = look.paper;
    this.words.fill((255 << 24) | (paper[2] << 16) | (paper[1] << 8) | paper[0]);
    const scale = camera.scale * look.ratio;
    for (const i of this.order) {
      const alpha = rgba[4 * i + 3] * look.fade;
      if (!alpha) continue;
      const centreX = Math.round((x[i] - camera.x) * scale + width / 2);
      const centreY = Math.round((y[i] - camera.y) * scale + height / 2);
      const { half, width: side, cover, border } = this.mask(Math.round(radii[i] * look.grow * look.ratio * 4));
      if (centreX < -half || centreY < -half || centreX >= width + half || centreY >= height + half) continue;
      const left = Math.max(centreX - half, 0);
      const right = Math.min(centreX + half, width - 1);
      const bottom = Math.min(centreY + half, height - 1);
      for (let row = Math.max(centreY - half, 0); row <= bottom; row++) {
        let at = (row - centreY + half) * side + left - centreX + half;
        for (let column = left, to = 4 * (row * width + left); column <= right; column++, at++, to += 4) {
          const share = (cover[at] * alpha) / 65025;
          if (share === 0) continue;
          const rim = border[at] / 255;
          for (let c = 0; c < 3; c++) {
            const ink = rgba[4 * i + c] + rim * (paper[c] - rgba[4 * i + c]);
            pixels[to + c] += share * (ink - pixels[to + c]);
          }
        }
      }
    }
    context.putImageData(this.image, 0, 0);
  }
}

function makePoints(canvas) {
  try {
    return new PointsGL(canvas);
  } catch {
    // A canvas that was asked for WebGL in vain may still give a context of the other kind; a broken program's may not.
    const fresh = canvas.cloneNode();
    canvas.replaceWith(fresh);
    return new PointsCanvas(fresh);
  }
}
