// What lies in the arena as objects that point to each other: structures where the program's types
// are known (variables are the roots), else blocks of words (registers are the roots).

import { pointee } from "./origins.js";
import { addressText } from "./places.js";
import { place } from "./words.js";
import { ABSENT, IN_ARENA, WRITE, registersAfter } from "./replay.js";
import { PAGE } from "./sizes.js";

const WORDS = 4; // shown of a block whose type is not known
const MOST = 120; // objects: more than a graph shows legibly; bounds its layout, not measured

/** Objects after step t, nearest to the roots first: {objects, more}. An object is {address, name, size,
 * fields}, a field {name, start, size, text, target}: `target` is where a pointer points, or null. */
export function findObjects(run, memory, t) {
  const structures = new Map((run.meta.structures ?? []).map((row) => [row.name, row])), found = new Map();
  const queue = roots(run, memory, t);
  while (queue.length && found.size < MOST) {
    const { address, type, fields } = queue.shift();
    if (found.has(address) || !fields && inside(found, address)) continue;
    const layout = fields ? { name: "variables", size: 0, fields } : structures.get(type) ?? block();
    const object = readObject(run, memory, t, address, layout);
    found.set(address, object);
    for (const { target, to } of object.fields) if (target !== null) queue.push({ address: target, type: to });
  }
  return { objects: trimmed([...found.values()]), more: queue.length > 0 };
}

/** t -> findObjects, found anew only where the memory of the arena, or the roots, changed. */
export function createFinder(run, memory) {
  let key = "", found = null, versions = null;
  return (t) => {
    versions ??= changesUpTo(run);
    const now = `${versions[t]} ${roots(run, memory, t).map(({ address }) => address)}`;
    if (now !== key) found = findObjects(run, memory, t);
    key = now;
    return found;
  };
}

/** For each step how often the arena has changed up to it. */
function changesUpTo({ n, columns: { access, event_step } }) {
  const versions = new Int32Array(n), changes = WRITE | IN_ARENA;
  for (const t of event_step) versions[Math.min(t, n - 1)]++;
  for (let t = 0; t < n; t++) versions[t] += (t ? versions[t - 1] : 0) + ((access[t] & (changes | ABSENT)) === changes);
  return versions;
}

function roots(run, memory, t) {
  const { arena, meta } = run;
  if (!arena) return [];
  if (meta.variables?.length) return [{ address: arena.start, fields: meta.variables }];
  const pointers = Array.from(registersAfter(run, t + 1), (value) => pointee(run, value)).filter((address) => address !== null);
  const first = memory.read(arena.start, 8 * WORDS, t) ? [arena.start] : [];
  return [...new Set([...first, ...pointers.map((address) => address & ~7n)])].map((address) => ({ address }));
}

const block = () => ({
  name: "", size: 8 * WORDS, fields: Array.from({ length: WORDS }, (_, i) => [`+${8 * i}`, 8 * i, 8, "word", ""]),
});

/** Does an address lie inside an object of known type? Then it is a part of it, not an object. */
function inside(found, address) {
  for (const object of found.values()) {
    if (object.name && address > object.address && address < object.address + BigInt(object.size)) return true;
  }
  return false;
}

/** Blocks end where the next object begins. */
function trimmed(objects) {
  const starts = objects.map(({ address }) => address).sort((a, b) => (a < b ? -1 : 1));
  for (const object of objects.filter(({ name }) => !name)) {
    const next = starts.find((address) => address > object.address);
    object.fields = object.fields.filter(({ start, size }) => next === undefined || start + BigInt(size) <= next);
  }
  return objects;
}

function readObject(run, memory, t, address, layout) {
  const fields = layout.fields.map(([name, offset, size, kind, to]) => {
    const start = address + BigInt(offset), bytes = memory.read(start, Math.min(size, MOST_BYTES), t);
    return { name, start, size, to, ...shown(run, bytes, kind, size) };
  });
  return { address, name: layout.name, size: layout.size, fields, absent: fields.length > 0 && fields.every(({ text }) => text === "absent") };
}

const MOST_BYTES = PAGE; // of a field, of which a reader sees the beginning

/** Bytes of a kind as text, and where they point if they are a pointer. */
function shown(run, bytes, kind, size) {
  if (!bytes) return { text: "absent", target: null };
  if (kind === "bytes" || bytes.length > 8) return { text: textOf(bytes, size), target: null };
  if (kind === "float") return { text: String(floatOf(bytes)), target: null };
  const value = bytes.reduceRight((sum, byte) => sum << 8n | BigInt(byte), 0n);
  const target = kind === "pointer" || kind === "word" ? pointee(run, value) : null;
  if (target !== null) return { text: `→ ${addressText(run, target)}`, target };
  if (kind === "pointer") return { text: value ? place(run, value) ?? `0x${value.toString(16)}` : "NULL", target };
  return { text: String(kind === "uint" ? value : BigInt.asIntN(8 * bytes.length, value)), target };
}

function floatOf(bytes) {
  const view = new DataView(bytes.buffer);
  return bytes.length === 4 ? view.getFloat32(0, true) : view.getFloat64(0, true);
}

/** Characters where they are text, else hexadecimal. */
function textOf(bytes, size) {
  const text = String.fromCharCode(...bytes).replace(/\0+$/, "");
  if (/^[\x20-\x7e]+$/.test(text)) return JSON.stringify(text);
  const shownBytes = Array.from(bytes.subarray(0, 16), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return bytes.some(Boolean) ? `${shownBytes}${bytes.length > 16 ? " …" : ""}` : `${bytes.length} zero bytes${bytes.length < size ? " …" : ""}`;
}
