// A PNG of at most 256 colours: pictures of pages need no more, and take a third of the room.
import { crc32, deflateSync } from 'node:zlib';

/** Bits of each channel by which colours beyond 256 are taken together. */
const BITS = [8, 6, 5, 4, 3, 2];

function palette(rgba, bits) {
  const mask = (0xff << (8 - bits)) & 0xff;
  const colours = new Map();
  const indices = Buffer.alloc(rgba.length / 4);
  for (let at = 0; at < rgba.length; at += 4) {
    const key = ((rgba[at] & mask) << 16) | ((rgba[at + 1] & mask) << 8) | (rgba[at + 2] & mask);
    let known = colours.get(key);
    if (!known) {
      if (colours.size === 256) return null;
      known = { index: colours.size, sum: [0, 0, 0], count: 0 };
      colours.set(key, known);
    }
    known.sum[0] += rgba[at];
    known.sum[1] += rgba[at + 1];
    known.sum[2] += rgba[at + 2];
    known.count += 1;
    indices[at / 4] = known.index;
  }
  // Each entry is the mean of the colours that it stands for.
  return { indices, entries: [...colours.values()].map(({ sum, count }) => sum.map((channel) => Math.round(channel / count))) };
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}

export function encode(width, height, rgba) {
  const { indices, entries } = BITS.map((bits) => () => palette(rgba, bits)).reduce((found, make) => found ?? make(), null);
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // Eight bits, a palette.
  header.set([8, 3, 0, 0, 0], 8);
  const rows = Buffer.alloc((width + 1) * height);
  for (let y = 0; y < height; y += 1) indices.copy(rows, y * (width + 1) + 1, y * width, (y + 1) * width);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    chunk('PLTE', Buffer.from(entries.flat())),
    chunk('IDAT', deflateSync(rows, { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}
