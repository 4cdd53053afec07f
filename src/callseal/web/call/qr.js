// A QR code (ISO/IEC 18004:2015) of a text, drawn here so that no server sees it: byte mode, error level M, versions 1 to 20.
// `squares(text)` gives rows of booleans, true is dark; `drawQr(svg, text)` makes one SVG path with the quiet zone of four.

const ECC_A_BLOCK = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26]; // table 9, level M
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16];
const QUIET = 4;

const MASKS = [
  (y, x) => (y + x) % 2 === 0,
  (y) => y % 2 === 0,
  (y, x) => x % 3 === 0,
  (y, x) => (y + x) % 3 === 0,
  (y, x) => (Math.floor(y / 2) + Math.floor(x / 3)) % 2 === 0,
  (y, x) => ((y * x) % 2) + ((y * x) % 3) === 0,
  (y, x) => (((y * x) % 2) + ((y * x) % 3)) % 2 === 0,
  (y, x) => (((y + x) % 2) + ((y * x) % 3)) % 2 === 0,
];

export function squares(text) {
  const data = new TextEncoder().encode(text);
  for (let version = 1; version <= BLOCKS.length; version++) {
    const frame = drawFrame(version);
    const total = Math.floor(frame.free.length / 8);
    const room = total - ECC_A_BLOCK[version - 1] * BLOCKS[version - 1];
    if (data.length * 8 + 4 + countBits(version) > room * 8) continue;
    const words = interleave(version, pad(version, data, room), total);
    const drawn = MASKS.map((mask, number) => fillIn(frame, version, words, mask, number));
    return drawn.reduce((best, next) => (penalty(next) < penalty(best) ? next : best));
  }
  throw new RangeError("QR code: the text is too long");
}

export function drawQr(svg, text) {
  const rows = squares(text);
  const side = rows.length + 2 * QUIET;
  svg.setAttribute("viewBox", `0 0 ${side} ${side}`);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const dark = rows.flatMap((row, y) => row.flatMap((bit, x) => (bit ? [`M${x + QUIET} ${y + QUIET}h1v1h-1z`] : [])));
  path.setAttribute("d", dark.join(""));
  svg.replaceChildren(path);
}

const countBits = (version) => (version < 10 ? 8 : 16);

// Data codewords: mode 0100, count, bytes, terminator, then 236 and 17 in turn (section 7.4.10).
function pad(version, data, room) {
  const bits = [];
  const put = (value, length) => {
    for (let at = length - 1; at >= 0; at--) bits.push((value >> at) & 1);
  };
  put(4, 4);
  put(data.length, countBits(version));
  data.forEach((byte) => put(byte, 8));
  put(0, Math.min(4, room * 8 - bits.length));
  put(0, (8 - (bits.length % 8)) % 8);
  for (let filler = 236; bits.length < room * 8; filler ^= 236 ^ 17) put(filler, 8);
  return Array.from({ length: room }, (_, at) => bits.slice(at * 8, at * 8 + 8).reduce((byte, bit) => byte * 2 + bit, 0));
}

// Blocks with their Reed-Solomon words, read across (section 7.6); the shorter blocks come first.
function interleave(version, data, total) {
  const [count, ecc] = [BLOCKS[version - 1], ECC_A_BLOCK[version - 1]];
  const short = Math.floor(total / count) - ecc;
  const shorter = count - (total % count);
  let at = 0;
  const blocks = Array.from({ length: count }, (_, number) => data.slice(at, (at += short + (number < shorter ? 0 : 1))));
  const checks = blocks.map((block) => remainder(block, ecc));
  const across = (lists, length) =>
    Array.from({ length }, (_, place) => lists.flatMap((list) => (place < list.length ? [list[place]] : []))).flat();
  return [...across(blocks, short + 1), ...across(checks, ecc)];
}

// Multiplication in GF(256) modulo x^8 + x^4 + x^3 + x^2 + 1.
function times(a, b) {
  let product = 0;
  for (let bit = 7; bit >= 0; bit--) {
    product = (product << 1) ^ (product & 128 ? 0x11d : 0);
    if ((b >> bit) & 1) product ^= a;
  }
  return product;
}

function remainder(block, degree) {
  let generator = [1];
  for (let power = 0, root = 1; power < degree; power++, root = times(root, 2)) {
    generator = [...generator, 0].map((value, at) => value ^ (at > 0 ? times(generator[at - 1], root) : 0));
  }
  const rest = [...block, ...new Array(degree).fill(0)];
  for (let at = 0; at < block.length; at++) {
    const factor = rest[at];
    generator.forEach((value, place) => (rest[at + place] ^= times(value, factor)));
  }
  return rest.slice(block.length);
}

// Function patterns, and the free places in the order in which data fills them.
function drawFrame(version) {
  const size = 17 + 4 * version;
  const cells = Array.from({ length: size }, () => new Array(size).fill(null));
  const set = (y, x, dark) => {
    if (y >= 0 && y < size && x >= 0 && x < size) cells[y][x] = dark;
  };
  const rings = (y, x, radius, isDark) => {
    for (let down = -radius; down <= radius; down++)
      for (let right = -radius; right <= radius; right++) set(y + down, x + right, isDark(Math.max(Math.abs(down), Math.abs(right))));
  };
  for (const [y, x] of [[3, 3], [3, size - 4], [size - 4, 3]]) rings(y, x, 4, (ring) => ring !== 2 && ring !== 4);
  for (const [y, x] of alignments(version, size)) rings(y, x, 2, (ring) => ring !== 1);
  for (let at = 8; at < size - 8; at++) cells[6][at] = cells[at][6] = at % 2 === 0;
  for (let at = 0; at < 9; at++) {
    cells[8][at] ??= false;
    cells[at][8] ??= false;
    if (at < 8) cells[8][size - 1 - at] = cells[size - 1 - at][8] = false;
  }
  cells[size - 8][8] = true;
  if (version >= 7) {
    const bits = (version << 12) | divide(version << 12, 0x1f25, 12);
    for (let at = 0; at < 18; at++) {
      const [far, near] = [size - 11 + (at % 3), Math.floor(at / 3)];
      cells[near][far] = cells[far][near] = ((bits >> at) & 1) === 1;
    }
  }
  return { size, cells, free: freePlaces(cells, size) };
}

function alignments(version, size) {
  if (version === 1) return [];
  const count = Math.floor(version / 7) + 2;
  const step = Math.ceil((size - 13) / (2 * (count - 1))) * 2;
  const places = [6, ...Array.from({ length: count - 1 }, (_, at) => size - 7 - step * (count - 2 - at))];
  const last = size - 7;
  const isFinder = (y, x) => (y === 6 && x === 6) || (y === 6 && x === last) || (y === last && x === 6);
  return places.flatMap((y) => places.flatMap((x) => (isFinder(y, x) ? [] : [[y, x]])));
}

// Two columns at a time from the right, up and down in turn, without the timing column (section 7.7.3).
function freePlaces(cells, size) {
  const free = [];
  let up = true;
  for (let right = size - 1; right > 0; right -= 2, up = !up) {
    if (right === 6) right = 5;
    for (let step = 0; step < size; step++) {
      const y = up ? size - 1 - step : step;
      for (const x of [right, right - 1]) if (cells[y][x] === null) free.push([y, x]);
    }
  }
  return free;
}

function divide(value, generator, degree) {
  for (let at = 31 - Math.clz32(value); value && at >= degree; at = 31 - Math.clz32(value)) value ^= generator << (at - degree);
  return value;
}

function fillIn({ size, cells, free }, version, words, mask, number) {
  const drawn = cells.map((row) => [...row]);
  free.forEach(([y, x], at) => {
    const bit = at < words.length * 8 ? (words[at >> 3] >> (7 - (at & 7))) & 1 : 0;
    drawn[y][x] = (bit === 1) !== mask(y, x);
  });
  const format = ((number << 10) | divide(number << 10, 0x537, 10)) ^ 0x5412; // level M is 00
  for (let at = 0; at < 15; at++) {
    const dark = ((format >> at) & 1) === 1;
    const near = at < 6 ? at : at < 8 ? at + 1 : 15 - at; // past the timing pattern
    if (at < 8) drawn[near][8] = drawn[8][size - 1 - at] = dark;
    else {
      drawn[8][at === 8 ? 7 : 14 - at] = dark;
      drawn[size - 15 + at][8] = dark;
    }
  }
  return drawn;
}

// Section 7.8.3: runs, blocks of four, finder-like rows, and the balance of dark and light.
function penalty(rows) {
  const size = rows.length;
  const columns = rows.map((_, x) => rows.map((row) => row[x]));
  let points = 0;
  for (const line of [...rows, ...columns]) {
    const text = line.map((bit) => (bit ? "1" : "0")).join("");
    for (const run of text.match(/0{5,}|1{5,}/g) ?? []) points += run.length - 2;
    for (let at = 0; at + 11 <= size; at++) if (["10111010000", "00001011101"].includes(text.slice(at, at + 11))) points += 40;
  }
  let dark = 0;
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      dark += rows[y][x] ? 1 : 0;
      if (y && x && rows[y][x] === rows[y - 1][x] && rows[y][x] === rows[y][x - 1] && rows[y][x] === rows[y - 1][x - 1]) points += 3;
    }
  return points + 10 * Math.floor(Math.abs((dark * 20) / (size * size) - 10));
}
