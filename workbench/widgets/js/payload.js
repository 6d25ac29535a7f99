// Opens a recorded run: the format is described in recording/format.py.

const MAGIC = "ARENATRC";
export const VERSION = 2;
const TYPES = { "<u1": Uint8Array, "<u4": Uint32Array, "<i4": Int32Array, "<u8": BigUint64Array };

/** Bytes (compressed or not) -> {meta, columns, n}. Throws an Error with a message for people. */
export async function openPayload(view) {
  const raw = await inflate(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
  const { header, start } = parseHeader(raw);
  if (raw.length - start < header.body) {
    throw new Error(`The trace is cut short: ${header.body - (raw.length - start)} bytes are missing.`);
  }
  const body = raw.byteOffset % 8 === 0 ? raw : raw.slice();
  const columns = {};
  for (const [name, [type, offset, count]] of Object.entries(header.columns)) {
    columns[name] = new TYPES[type](body.buffer, body.byteOffset + start + offset, count);
  }
  return { meta: header.meta, columns, n: columns.pc.length };
}

async function inflate(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  try {
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch {
    throw new Error("The trace is cut short or damaged: it does not decompress.");
  }
}

function parseHeader(raw) {
  if (String.fromCharCode(...raw.subarray(0, 8)) !== MAGIC) {
    throw new Error("This is not a recorded run: it does not start with ARENATRC.");
  }
  const words = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  if (raw.length < 16) throw new Error("The trace is cut short: its header is incomplete.");
  const version = words.getUint32(8, true);
  const length = words.getUint32(12, true);
  if (version !== VERSION) {
    throw new Error(`The trace has format version ${version}; this view reads ${VERSION}.`);
  }
  if (raw.length < 16 + length) throw new Error("The trace is cut short: its header is incomplete.");
  const header = JSON.parse(new TextDecoder().decode(raw.subarray(16, 16 + length)));
  return { header, start: 16 + length };
}
