// Places as text: what a reader types into an address field, selects, or stops at.

import { PAGE_BYTES } from "./sizes.js";

/** "3" or "page 3", "arena+0x1000", "stack", "0x10001000" (low half or whole) -> address; else null. */
export function parseAddress(run, text) {
  const [, name, distance] = /^\s*(?:([a-z]+(?: of CPU \d+)?)\s*\+?)?\s*(0x[0-9a-f]+|\d+)?\s*$/i.exec(text) ?? [];
  if (name === undefined && distance === undefined) return null;
  const value = BigInt(distance ?? 0);
  const base = name === "arena" ? run.arena?.start : run.regions.find((region) => region.name === name)?.start;
  if (name && name !== "page") return base === undefined ? null : base + value;
  if (!/^0x/i.test(distance) || name === "page") return run.arena ? run.arena.start + value * PAGE_BYTES : null;
  const low = run.arena && value < 1n << 32n && value >= run.arena.low;
  return low ? run.arena.start + value - run.arena.low : value;
}

/** Address -> text that parseAddress reads back, whatever frame runs: `arena+0x1008`, `stack+0xff8`. */
export function addressText({ arena, regions }, address) {
  const inside = (start, end) => address >= start && address < end;
  if (arena && inside(arena.start, arena.end)) return `arena+0x${(address - arena.start).toString(16)}`;
  const region = regions.find(({ start, end }) => inside(start, end));
  return region ? `${region.name}+0x${(address - region.start).toString(16)}` : `0x${address.toString(16)}`;
}

/** "r3" -> {r: 3}; "arena+0x1008:8" or "page 4" -> {start, size}; anything else -> null. */
export function parsePlace(run, text) {
  const register = /^\s*r(10|\d)\s*$/.exec(text);
  if (register) return { r: Number(register[1]) };
  const [, where, bytes] = /^(.*?)(?::\s*(\d+))?\s*$/.exec(text);
  const start = parseAddress(run, where);
  if (start === null) return null;
  return { start, size: Number(bytes ?? (isPage(where) ? PAGE_BYTES : 8n)) };
}

const isPage = (text) => /^\s*(page\s*)?\d+\s*$/i.test(text);

/** The text of a place: what parsePlace reads. */
export const placeText = (run, { r, start, size }) => (r === undefined ? `${addressText(run, start)}:${size}` : `r${r}`);
