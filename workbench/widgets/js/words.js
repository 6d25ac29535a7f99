// Numbers as people read them: hexadecimal, signed, and as places in the arena, stack or context.

import { FRAME_BYTES, PAGE_BYTES, PAGE_SHIFT } from "./sizes.js";

const SMALL = 1n << 24n; // below this a number reads better in decimal

export const hex = (value) => "0x" + value.toString(16);
export const signed = (value) => BigInt.asIntN(64, value);
export const hexByte = (byte) => byte.toString(16).padStart(2, "0");
export const grouped = (number) => number.toLocaleString("en-US");

/** A value in a sentence: decimal when small, else its place, else hexadecimal. */
export function say(run, value, depth = 0) {
  return place(run, value, depth) ?? number(value);
}

/** Small magnitudes in signed decimal, all others in hexadecimal. */
export function number(value) {
  const s = signed(value);
  return s < SMALL && s > -SMALL ? s.toString() : hex(value);
}

/** Where a register's value points to (`arena+0x1008`, `fp-8`, `ctx+4`), or null. */
export function place(run, value, depth = 0) {
  return arenaPlace(run, value) ?? regionPlace(run, value, depth);
}

/** The low half alone finds the byte, so both the user and the kernel form of a pointer count. */
function arenaPlace({ arena }, value) {
  if (!arena) return null;
  if (value >= arena.start && value < arena.end) return inArena(value - arena.start);
  const kern = value - arena.low, negative = value >> PAGE_SHIFT === 0xfffffn; // -1 and its like, of 32 bits
  const inside = value >= PAGE_BYTES && !negative && kern >= 0n && kern < arena.end - arena.start;
  return inside ? inArena(kern) : null;
}

function regionPlace(run, value, depth) {
  for (const { name, start, end } of run.regions) {
    if (name.startsWith("stack") && value > start && value <= end) return stackPlace(run, name, end - value, depth);
    if (value >= start && value < end) return name.startsWith("stack") ? stackPlace(run, name, end - value, depth) : offset(name, value - start);
  }
  return null;
}

/** Bytes below the top of all stacks -> offset from the frame pointer whose frame holds them. */
function stackPlace({ cpus }, name, below, depth) {
  const frame = below ? Number((below - 1n) / FRAME_BYTES) : 0, cpu = Number(/\d+$/.exec(name)?.[0] ?? 0);
  const here = cpu === depth >> 3;
  if (here && below === BigInt(depth & 7) * FRAME_BYTES) return "fp";
  const within = below - BigInt(frame) * FRAME_BYTES;
  if (here && frame === (depth & 7)) return `fp-${within}`;
  return `fp-${within} of frame ${frame}${cpus > 1 ? ` of CPU ${cpu}` : ""}`;
}

const offset = (name, distance) => (distance ? `${name}+${hex(distance)}` : name);

const inArena = (distance) => `arena+${hex(distance)}`;

/** Is this the full 64-bit form that user space follows (rather than the program's low half)? */
export const isUserForm = ({ arena }, value) => !!arena && value >= arena.start && value < arena.end && arena.start > 0xffffffffn;

/** Address of an access: its place, and for the arena the page (counted from the arena's start). */
export function where(run, address, depth) {
  const { arena } = run;
  if (arena && address >= arena.start - 0x8000n && address < arena.end) {
    if (address < arena.start) return `arena-${hex(arena.start - address)}`;
    return `${inArena(address - arena.start)} (page ${pageNumber(run, address)})`;
  }
  return place(run, address, depth) ?? hex(address);
}

/** Page number relative to the arena's start. */
const pageNumber = ({ arena }, address) => Number((address - arena.start) >> PAGE_SHIFT);

/** Register meaning in the registers pane: a place with its form, or the number in decimal. */
export function meaning(run, value, depth) {
  const found = place(run, value, depth);
  if (!found) return value === signed(value) && value < 10n ? "" : decimal(value);
  if (!found.startsWith("arena")) return found;
  return `${found} ${isUserForm(run, value) ? "user" : "kern"}`;
}

/** Grouped decimal; the last 65,536 numbers below 2^32 read as the small negative ones they mostly are. */
function decimal(value) {
  const s = signed(value);
  if (s >= 10n ** 12n || s <= -(10n ** 12n)) return "";
  return s >> 16n === 0xffffn ? `${grouped(BigInt.asIntN(32, s))} as s32` : grouped(s);
}

/** Change of a number, when it says something: `+8`, `-1`. */
export function difference(before, after) {
  const d = BigInt.asIntN(64, after - before);
  const small = d < 65536n && d > -65536n;
  return d && small ? (d > 0n ? `+${d}` : `${d}`) : "";
}
