// Sizes that BPF and its arenas fix; the columns of a recording count in them.

export const REGISTERS = 11; // r0 to r10, of one frame
export const FRAMES = 8; // of one CPU
export const FRAME_BYTES = 512n; // of stack
export const PAGE = 4096, PAGE_BYTES = BigInt(PAGE); // for page numbers, and for addresses
export const PAGE_SHIFT = BigInt(Math.log2(PAGE));
