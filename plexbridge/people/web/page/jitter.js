/**
 * How much sound to hold back before it plays, so that late packets are not heard: the jitter target.
 *
 * The target is the depth right after a packet has come, so it is never below the 20 ms of one packet. It starts at
 * 40 ms. Each gap in what is played (an underrun) raises it by 20 ms at once. It comes down by 10 ms after a calm time
 * in which at least that much was never needed; each underrun doubles that time, so that a link that is bad now and
 * then is not tried again and again. A gap of more than 300 ms is a stop, which no target could have bridged.
 *
 * Pure: time is what was played, in samples.
 */

import { RATE_HZ } from "./message.js";

const MS = RATE_HZ / 1000;
export const MINIMUM = 20 * MS;
export const MAXIMUM = 120 * MS;
const START = 40 * MS;
const RISE = 20 * MS;
const FALL = 10 * MS;
const BRIDGEABLE = 300 * MS;
const CALM = 20 * RATE_HZ;
const CALM_MAXIMUM = 320 * RATE_HZ;

export class JitterTarget {
  #calmNeeded = CALM;
  #calm = 0;
  #lowest = Infinity;

  /** In samples. */
  samples = START;
  /** Gaps short enough to be the network's jitter. */
  underruns = 0;

  /** `count` samples were played, and `depth` samples were left then. */
  played(count, depth) {
    this.#calm += count;
    this.#lowest = Math.min(this.#lowest, depth);
    if (this.#calm < this.#calmNeeded) return;
    if (this.#lowest >= FALL) this.samples = Math.max(MINIMUM, this.samples - FALL);
    this.#restart();
  }

  /** After a gap of `gap` samples there is sound again. */
  resumed(gap) {
    this.#restart();
    if (gap > BRIDGEABLE) return;
    this.underruns += 1;
    this.samples = Math.min(MAXIMUM, this.samples + RISE);
    this.#calmNeeded = Math.min(CALM_MAXIMUM, 2 * this.#calmNeeded);
  }

  #restart() {
    this.#calm = 0;
    this.#lowest = Infinity;
  }
}
