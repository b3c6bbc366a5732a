/**
 * Plays from the playout buffer, and reports ten times a second.
 *
 * The reports are also the beat of the page's own work (statistics to the server, watching for silence on the line):
 * the audio clock goes on where a browser slows the timers of a page in the background.
 */

import { FRAME_SAMPLES, RATE_HZ, levelDbfs } from "./message.js";
import { Playout } from "./playout.js";

const REPORT_SAMPLES = RATE_HZ / 10;

class Playback extends AudioWorkletProcessor {
  #playout = new Playout();
  #block = new Float32Array(FRAME_SAMPLES);
  #filled = 0;
  #levels = [];
  #sinceReport = 0;
  /** Bounds of the depth since the last report: what is shown must not depend on where in a packet it was read. */
  #depths = [];

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      if (data === "reset") this.#playout = new Playout();
      else this.#playout.push(data.sequence, data.samples);
    };
  }

  process(inputs, [output]) {
    const out = output[0];
    this.#depths.push(this.#playout.depth);
    this.#playout.pull(out, currentFrame);
    for (const channel of output.slice(1)) channel.set(out);
    this.#listen(out);
    this.#sinceReport += out.length;
    if (this.#sinceReport >= REPORT_SAMPLES) this.#report(currentFrame + out.length);
    return true;
  }

  #listen(out) {
    for (const sample of out) {
      this.#block[this.#filled++] = sample;
      if (this.#filled < FRAME_SAMPLES) continue;
      this.#levels.push(levelDbfs(this.#block));
      this.#filled = 0;
    }
  }

  #report(clock) {
    const { played, dropped, target } = this.#playout;
    this.port.postMessage({
      clock,
      played,
      depth: this.#depths.reduce((sum, depth) => sum + depth, 0) / this.#depths.length,
      target: target.samples,
      underruns: target.underruns,
      dropped,
      started: this.#playout.takeStarted(),
      levels: this.#levels,
    });
    this.#sinceReport = 0;
    this.#levels = [];
    this.#depths = [];
  }
}

registerProcessor("playback", Playback);
