// The data of the page: words and numbers as JSON, arrays as one block in base64, deflated.

const READERS = {
  u1: Uint8Array, u2: Uint16Array, i2: Int16Array, i4: Int32Array, f4: Float32Array, f8: Float64Array,
};

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Bytes are sorted by their significance, all lowest ones first; signed whole numbers are 0, -1, 1, -2, ...
function unshuffled(bytes, Type, length) {
  const size = Type.BYTES_PER_ELEMENT;
  if (size === 1) return Type.from(bytes);
  const out = new Uint8Array(length * size);
  for (let plane = 0; plane < size; plane++) {
    const from = plane * length;
    for (let i = 0; i < length; i++) out[i * size + plane] = bytes[from + i];
  }
  const values = new Type(out.buffer);
  if (Type === Int16Array || Type === Int32Array) {
    const mask = Type === Int16Array ? 0xffff : 0xffffffff;
    for (let i = 0; i < length; i++) values[i] = ((values[i] & mask) >>> 1) ^ -(values[i] & 1);
  }
  return values;
}

// All the page knows: { about, <name of an array>: typed array, <name of a text>: string }.
async function readData() {
  const about = JSON.parse(document.getElementById("about").textContent);
  const element = document.getElementById("data");
  const bytes = await inflate(fromBase64(element.textContent.trim()));
  element.remove(); // megabytes of text that nothing needs any more
  const data = { about };
  let at = 0;
  for (const [name, type, length] of about.arrays) {
    const size = type === "text" ? 1 : READERS[type].BYTES_PER_ELEMENT;
    const part = bytes.subarray(at, at + length * size);
    data[name] = type === "text" ? new TextDecoder().decode(part) : unshuffled(part, READERS[type], length);
    at += length * size;
  }
  return data;
}
