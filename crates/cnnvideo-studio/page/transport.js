// SPDX-License-Identifier: MIT OR Apache-2.0
// Playing, stepping and seeking.

import { send } from "./api.js";
import { clockText, find, setIcon } from "./dom.js";

export class Transport {
  playing = false;
  looped = false;
  video = null;
  #seeking = false;

  constructor() {
    for (const name of ["back", "forward", "loop", "play"]) setIcon(find(name), name);
    find("play").onclick = () => this.toggle();
    find("back").onclick = () => send("step", { frames: -1 });
    find("forward").onclick = () => send("step", { frames: 1 });
    find("loop").onclick = () => this.setLoop(!this.looped);
    const time = find("time");
    time.oninput = () => {
      this.#seeking = true;
      this.clock(Number(time.value));
      send("seek", { seconds: Number(time.value) });
    };
    time.onchange = () => {
      this.#seeking = false;
    };
    this.open(null);
  }

  toggle() {
    send(this.playing ? "pause" : "play");
  }

  setLoop(on) {
    this.looped = on;
    find("loop").setAttribute("aria-pressed", on);
    send("loop", { on });
  }

  /** Moves by seconds. */
  skip(seconds) {
    if (!this.video) return;
    const time = Math.max(0, Number(find("time").value) + seconds);
    send("seek", { seconds: Math.min(time, this.video.seconds ?? time) });
  }

  open(video) {
    this.video = video;
    const seekable = Boolean(video && !video.live);
    for (const name of ["play", "back", "forward", "loop", "time"]) find(name).disabled = !video;
    for (const name of ["back", "time", "loop"]) find(name).disabled = !seekable;
    find("time").max = video?.seconds ?? 1;
    this.shown(0);
    this.state({ playing: false });
  }

  /** Shows the time of a picture. */
  shown(seconds) {
    if (this.#seeking) return;
    find("time").value = seconds;
    this.clock(seconds);
  }

  clock(seconds) {
    const total = this.video?.seconds;
    find("clock").textContent = total
      ? `${clockText(seconds)} / ${clockText(total)}`
      : clockText(seconds);
  }

  state({ playing, rate }) {
    this.playing = playing;
    const play = find("play");
    const name = playing ? "pause" : "play";
    if (play.dataset.icon !== name) setIcon(play, name);
    play.dataset.icon = name;
    play.setAttribute("aria-label", playing ? "Pause" : "Play");
    play.title = playing ? "Pause (Space)" : "Play (Space)";
    find("speed").textContent = playing && rate ? `${rate.toFixed(0)} fps` : "";
  }
}
