// How one page of the map is drawn: a fill that says what was asked for, and a pattern for its state.

const OWNERS = ["alloc", "accent", "cast", "written", "break", "fault"]; // colours, used in turn

/** Painter: (view, page) -> {colour, alpha, letter}; the pattern of the state comes on top. */
export const PAINTERS = {
  state: (_, { state }) => ({ colour: { initial: "soft", allocated: "alloc", user: "accent", freed: "faint", reserved: "lane" }[state], alpha: 1 }),
  owner: ({ pc, n }, { since, state }) => owner(state === "initial" ? -1 : pc[Math.min(since, n - 1)] ?? -1),
  age: ({ t, n }, { last }) => ({ colour: "accent", alpha: last < 0 ? 0.06 : 1 - 0.9 * Math.min(1, (t - last) / Math.max(1, n / 4)) }),
  faults: (_, { faults }) => ({ colour: "fault", alpha: ramp(faults) }),
  accesses: (_, { accesses }) => ({ colour: "written", alpha: ramp(accesses) }),
};

const ramp = (count) => (count ? Math.min(1, 0.2 + 0.2 * Math.log2(count) / 2) : 0.06);

function owner(pc) {
  return pc < 0 ? { colour: "soft", alpha: 1 } : { colour: OWNERS[pc % OWNERS.length], alpha: 1, letter: String.fromCharCode(65 + (pc % 26)) };
}

/** Draw one page in its box [x, y, side]; `here`: touched by this step, `small`: a pixel of the whole map. */
export function paintCell(view, painter, now, [x, y, side], { here, picked, small }) {
  const { g, colours } = view, present = !["absent", "freed"].includes(now.state);
  if (small) return paintPixel(view, painter, now, x, y, Math.max(side, 2), here || picked);
  g.fillStyle = colours("bg-head");
  g.fillRect(x, y, side, side);
  const { colour, alpha, letter } = painter(view, now);
  if (present && colour) {
    g.globalAlpha = alpha;
    g.fillStyle = colours(colour);
    g.fillRect(x, y, side, side);
    g.globalAlpha = 1;
  }
  pattern(g, colours, now, x, y, side);
  if (letter && present && side > 9) write(g, colours, letter, x, y, side);
  if (here || picked) outline(g, colours(here ? "written" : "accent"), x, y, side);
}

function paintPixel({ g, colours, ...view }, painter, now, x, y, side, marked) {
  const { colour, alpha } = painter(view, now);
  if (now.state === "absent" && !now.faults && !marked) return;
  g.globalAlpha = marked ? 1 : Math.max(alpha ?? 1, 0.3);
  g.fillStyle = colours(marked ? "written" : now.state === "absent" ? "fault" : colour ?? "soft");
  g.fillRect(x, y, side, side);
  g.globalAlpha = 1;
}

/** States differ by pattern too: stripes for user space, an outline for freed, a cross for faults. */
function pattern(g, colours, { state, faults }, x, y, side) {
  const stroke = (colour, lines) => {
    g.strokeStyle = colour;
    g.lineWidth = 1.2;
    g.beginPath();
    for (const [ax, ay, bx, by] of lines) { g.moveTo(x + ax * side, y + ay * side); g.lineTo(x + bx * side, y + by * side); }
    g.stroke();
  };
  if (state === "user") stroke(colours("bg"), [[0, 0.5, 0.5, 0], [0, 1, 1, 0], [0.5, 1, 1, 0.5]]);
  if (state === "initial") stroke(colours("bg"), [[0.2, 0.5, 0.8, 0.5]]);
  if (state === "reserved") stroke(colours("soft"), [[0.2, 0.2, 0.8, 0.2], [0.2, 0.8, 0.8, 0.8]]);
  if (state === "freed") stroke(colours("alloc"), [[0.1, 0.1, 0.9, 0.1], [0.9, 0.1, 0.9, 0.9], [0.9, 0.9, 0.1, 0.9], [0.1, 0.9, 0.1, 0.1]]);
  if (state === "absent" && faults) stroke(colours("fault"), [[0.2, 0.2, 0.8, 0.8], [0.8, 0.2, 0.2, 0.8]]);
}

function write(g, colours, letter, x, y, side) {
  g.fillStyle = colours("bg");
  g.font = `bold ${side - 4}px sans-serif`;
  g.textAlign = "center";
  g.fillText(letter, x + side / 2, y + side - 3);
  g.textAlign = "start";
}

function outline(g, colour, x, y, side) {
  g.strokeStyle = colour;
  g.lineWidth = 2;
  g.strokeRect(x + 1, y + 1, side - 2, side - 2);
}
