/**
 * How long a voice is on its way through the loopback: from the clock at which a frame was captured to the clock at
 * which the packet with the same sequence number was played. Both are the audio context's, so nothing is guessed.
 *
 * What the sequence number can't show is added: the first sample of a decoded Opus packet is older by the codec's own
 * look-ahead. What the devices take is not in it; the browser reports that apart.
 *
 * Pure.
 */

import { RATE_HZ } from "./message.js";

/** RFC 6716, section 2: 2.5 ms of overlap and 4 ms of the encoder's look-ahead. */
const LOOK_AHEAD_MS = { opus: 6.5, pcm16: 0 };
const REMEMBERED_FRAMES = 250;
const MEASURED = 50;

export class LoopDelay {
  #captured = new Map();
  #latest = [];
  #lookAheadMs;

  constructor(codec) {
    this.#lookAheadMs = LOOK_AHEAD_MS[codec];
  }

  /** Without a number the frame was not sent. */
  captured(sequence, clock) {
    if (sequence === undefined) return;
    this.#captured.set(sequence, clock);
    if (this.#captured.size > REMEMBERED_FRAMES) this.#captured.delete(this.#captured.keys().next().value);
  }

  played(sequence, clock) {
    const captured = this.#captured.get(sequence);
    if (captured === undefined) return;
    this.#captured.delete(sequence);
    this.#latest.push(((clock - captured) * 1000) / RATE_HZ + this.#lookAheadMs);
    if (this.#latest.length > MEASURED) this.#latest.shift();
  }

  /** The median of the last second; null before there is one. */
  get ms() {
    if (this.#latest.length === 0) return null;
    const sorted = this.#latest.toSorted((one, other) => one - other);
    return sorted[Math.floor(sorted.length / 2)];
  }
}
