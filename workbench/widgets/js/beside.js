// A second run of the same program below the first one: the same instructions in view, whichever moves.

/** Stretches [first, end, other, other end, together] -> the step of the other run that stands for t:
 * the same instruction where both ran together, else the step at which the other one goes on. */
export function counterpart(stretches, t) {
  for (const [first, end, other, otherEnd, together] of stretches) {
    if (t >= first && t < end) return together ? other + t - first : otherEnd;
  }
  return 0;
}

const mirrored = (stretches) => stretches.map(([first, end, other, otherEnd, together]) => [other, otherEnd, first, end, together]);

/** A model for the second view, on that of the first: data and steps of the other run. */
export function otherModel(model) {
  const listeners = {}, state = { breakpoints: [], selection: "" };
  const tell = (name) => { for (const f of listeners[`change:${name}`] ?? []) f(); };
  let leads = false; // does the second view move the first?
  const stretches = () => model.get("aligned")?.stretches ?? [];
  const follow = () => {
    if (leads) return;
    state.t = counterpart(stretches(), model.get("t"));
    tell("t");
  };
  const open = () => { follow(); tell("data"); };
  model.on("change:t", follow);
  model.on("change:other", open);
  follow();
  return {
    get: (name) => ({ data: model.get("other"), differs: model.get("aligned")?.differs?.[1] })[name] ?? state[name],
    set(name, value) {
      state[name] = value;
      tell(name);
      if (name !== "t") return;
      leads = true;
      model.set("t", counterpart(mirrored(stretches()), value));
      model.save_changes();
      leads = false;
    },
    on: (event, f) => { (listeners[event] ??= new Set()).add(f); },
    off: (event, f) => { listeners[event]?.delete(f); },
    save_changes() {},
    close() { model.off("change:t", follow); model.off("change:other", open); },
  };
}
