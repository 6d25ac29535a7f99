// Play: moves on by itself at a given speed, until a stop is hit or the run ends.

/** onState(playing) hears when it starts and ends. `perSecond` gives the speed of the moment. */
export function createPlayer(session, perSecond, onState) {
  let frame = 0, advancing = false;
  session.listen((what) => { if (!advancing && what !== "stops") player.pause(); });

  /** Move on by `steps`, but no further than a stop; false where play has to end. */
  function advance(steps) {
    const { t, run } = session, stop = session.target("breakpoint", 1);
    const to = Math.min(t + steps, run.n - 1), hit = stop >= 0 && stop <= to;
    advancing = true;
    session.go(hit ? stop : to);
    advancing = false;
    return !hit && to < run.n - 1;
  }

  function play() {
    let last = Infinity, due = 0; // the first frame's time may lie before this call
    const next = (now) => {
      due += (Math.max(0, now - last) / 1000) * perSecond();
      last = now;
      const steps = Math.floor(due);
      due -= steps;
      frame = requestAnimationFrame(next);
      if (steps && !advance(steps)) player.pause();
    };
    frame = requestAnimationFrame(next);
    onState(true);
  }

  const player = {
    playing: () => frame !== 0,
    toggle: () => (frame ? player.pause() : play()),
    pause() {
      if (!frame) return;
      cancelAnimationFrame(frame);
      frame = 0;
      onState(false);
    },
  };
  return player;
}
