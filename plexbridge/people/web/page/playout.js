/**
 * The playout buffer: packets' samples go in as they come, and come out without gaps, as late as the jitter target says.
 *
 * It waits until the target is reached, then plays; when it runs dry it waits again. What is more than needed is delay
 * that nobody wants, and is cut out: at once when it is far too much (a stall has ended, and all of it came), else in a
 * quiet moment, and after 3 s without one in the middle of speech. Every cut and gap is smoothed over 2.7 ms, so that
 * it does not click.
 *
 * Pure: the worklet (playback-worklet.js) calls it, and the clock is the audio context's, in samples.
 */

import { JitterTarget } from "./jitter.js";
import { FRAME_SAMPLES, RATE_HZ } from "./message.js";

const CAPACITY = RATE_HZ;
const FAR_TOO_MUCH = RATE_HZ / 5;
const WINDOW = RATE_HZ;
const WORTH_CUTTING = RATE_HZ / 100;
const QUIET_WAIT = 3 * RATE_HZ;
const QUIET_PEAK = 0.005;
const SEAM = 128;

export class Playout {
  #ring = new Float32Array(CAPACITY);
  #written = 0;
  #read = 0;
  /** Packets in the ring: their sequence number, and where they begin and end. */
  #packets = [];
  #started = [];
  #isPlaying = false;
  #gap = 0;
  /** Before the first sound there is nothing to count. */
  #isGapCounted = true;
  #last = 0;
  #seam = 0;
  #offset = 0;
  #windowLeft = WINDOW;
  #windowLowest = Infinity;
  #excess = 0;
  #excessSince = 0;

  target = new JitterTarget();
  /** The last sequence number that was played to its end; -1 before the first. */
  played = -1;
  /** Samples thrown away because they would have played late. */
  dropped = 0;

  /** Samples that wait. */
  get depth() {
    return this.#written - this.#read;
  }

  /** Take in the samples of one packet. */
  push(sequence, samples) {
    const overflow = this.depth + samples.length - CAPACITY;
    if (overflow > 0) this.#cut(overflow);
    const begin = this.#written;
    for (const sample of samples) this.#ring[this.#written++ % CAPACITY] = sample;
    this.#packets.push({ sequence, begin, end: this.#written });
    if (this.depth > this.target.samples + FAR_TOO_MUCH) this.#cut(this.depth - this.target.samples);
  }

  /** Fill `out` with what is to be heard when the clock is at `clock` samples. */
  pull(out, clock) {
    if (!this.#isPlaying && !this.#canPlay()) {
      this.#gap += out.length;
      this.#write(out, 0);
      return;
    }
    if (!this.#isPlaying) {
      this.#isPlaying = true;
      this.#isGapCounted = false;
      this.#joinUp(this.#ring[this.#read % CAPACITY]);
      this.#forgetWindow();
    }
    this.#cutExcess(out.length);
    const count = Math.min(out.length, this.depth);
    this.#write(out, count, clock);
    this.target.played(count, this.depth);
    this.#watch(count);
    if (count < out.length) {
      this.#isPlaying = false;
      this.#gap = out.length - count;
    }
  }

  /** After a gap the target may rise, and is waited for as it is then. */
  #canPlay() {
    if (this.depth < this.target.samples) return false;
    if (!this.#isGapCounted) this.target.resumed(this.#gap);
    this.#isGapCounted = true;
    return this.depth >= this.target.samples;
  }

  /** Return which packets began to play since the last call, and when: pairs of a sequence number and the clock. */
  takeStarted() {
    const started = this.#started;
    this.#started = [];
    return started;
  }

  /** Write `count` samples of the ring and silence behind them. */
  #write(out, count, clock) {
    while (this.#packets.length && this.#packets[0].end <= this.#read + count) {
      const packet = this.#packets.shift();
      this.#note(packet, clock, count);
      this.played = packet.sequence;
    }
    if (this.#packets.length) this.#note(this.#packets[0], clock, count);
    for (let index = 0; index < out.length; index++) {
      if (index === count && this.#isPlaying) this.#joinUp(0);
      let sample = index < count ? this.#ring[this.#read++ % CAPACITY] : 0;
      if (this.#seam > 0) sample += (this.#offset * this.#seam--) / SEAM;
      out[index] = this.#last = sample;
    }
  }

  #note(packet, clock, count) {
    const ahead = packet.begin - this.#read;
    if (ahead >= 0 && ahead < count) this.#started.push([packet.sequence, clock + ahead]);
  }

  /** Go on from the sample that was heard last to `next` without a step. */
  #joinUp(next) {
    if (this.#last === next) return;
    this.#offset = this.#last - next;
    this.#seam = SEAM;
  }

  /** Look for delay that was not needed in a whole second: the depth right before a packet comes should be small. */
  #watch(count) {
    this.#windowLowest = Math.min(this.#windowLowest, this.depth);
    this.#windowLeft -= count;
    if (this.#windowLeft > 0) return;
    const excess = this.#windowLowest - (this.target.samples - FRAME_SAMPLES);
    if (excess < WORTH_CUTTING) this.#excess = 0;
    else if (this.#excess === 0) [this.#excess, this.#excessSince] = [excess, 0];
    this.#windowLeft = WINDOW;
    this.#windowLowest = Infinity;
  }

  #cutExcess(played) {
    if (this.#excess === 0) return;
    this.#excessSince += played;
    const count = Math.min(this.#excess, this.depth - played);
    if (count <= 0) return;
    if (this.#excessSince < QUIET_WAIT && !this.#isQuiet(count)) return;
    this.#cut(count);
    this.#forgetWindow();
  }

  #isQuiet(count) {
    for (let index = this.#read; index < this.#read + count; index++) {
      if (Math.abs(this.#ring[index % CAPACITY]) > QUIET_PEAK) return false;
    }
    return true;
  }

  #cut(count) {
    this.#read += count;
    this.dropped += count;
    while (this.#packets.length && this.#packets[0].end <= this.#read) this.played = this.#packets.shift().sequence;
    if (this.#isPlaying && this.depth > 0) this.#joinUp(this.#ring[this.#read % CAPACITY]);
  }

  #forgetWindow() {
    this.#excess = 0;
    this.#windowLeft = WINDOW;
    this.#windowLowest = Infinity;
  }
}
