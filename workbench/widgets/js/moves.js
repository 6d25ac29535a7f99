// Where a move in time leads: over and out of calls, to other source lines; sign 1 forwards, -1 back.

import { cpuAt } from "./replay.js";

/** Nearest step after or before t for which `wanted` holds, or -1. */
export function seek(run, t, sign, wanted) {
  for (let at = t + sign; at >= 0 && at < run.n; at += sign) if (wanted(at)) return at;
  return -1;
}

/** The next step of the same function or of its caller: what it calls runs at once. */
export function over(run, t, sign) {
  const { depth } = run.columns;
  return orEnd(run, sign, seek(run, t, sign, (at) => depth[at] <= depth[t] && sameCpu(run, at, t)));
}

/** The step after the return from this function, or the call that led here. */
export function out(run, t, sign) {
  const { depth } = run.columns;
  return orEnd(run, sign, seek(run, t, sign, (at) => depth[at] < depth[t] && sameCpu(run, at, t)));
}

/** The first step of the next source line that ran, or of the previous one. */
export function line(run, t, sign) {
  const { pc, depth } = run.columns, lineAt = run.lineOfSlot;
  const differs = (a, b) => lineAt[pc[a]] !== lineAt[pc[b]] || depth[a] !== depth[b];
  const elsewhere = (from) => seek(run, from, sign, (at) => sameCpu(run, at, from) && differs(at, from));
  const reached = elsewhere(t);
  if (sign > 0 || reached < 0) return orEnd(run, sign, reached);
  const before = elsewhere(reached);
  return seek(run, before, 1, (at) => sameCpu(run, at, reached));
}

/** The next step of the same CPU, where several run. */
export const sameCpuStep = (run, t, sign) => seek(run, t, sign, (at) => sameCpu(run, at, t));

const sameCpu = (run, a, b) => cpuAt(run, a) === cpuAt(run, b);

const orEnd = (run, sign, step) => (step >= 0 ? step : sign > 0 ? run.n - 1 : 0);
