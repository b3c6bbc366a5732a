/** Pauses between attempts to connect: they double from half a second to 15 s, and each is shortened by chance. Pure. */

const FIRST_SECONDS = 0.5;
const LONGEST_SECONDS = 15;

export class Pauses {
  #failures = 0;
  #random;

  /** `random` returns numbers from 0 to 1. */
  constructor(random = Math.random) {
    this.#random = random;
  }

  /** Return the seconds until the next attempt. By chance, so that after a restart not all pages come at once. */
  next() {
    const longest = Math.min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** this.#failures++);
    return longest * (0.5 + 0.5 * this.#random());
  }

  succeeded() {
    this.#failures = 0;
  }
}
