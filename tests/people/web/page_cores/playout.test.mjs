import assert from "node:assert/strict";
import test from "node:test";
import { Playout } from "../../../../plexbridge/people/web/page/playout.js";

const FRAME = 960;
const MS = 48;

/** A playout buffer, the clock that it plays by, and all that was heard. */
class Rig {
  playout = new Playout();
  clock = 0;
  heard = [];

  push(sequence, value = 0.5) {
    this.playout.push(sequence, typeof value === "number" ? new Float32Array(FRAME).fill(value) : value);
  }

  pull(milliseconds) {
    const until = this.clock + milliseconds * MS;
    while (this.clock + 120 <= until) {
      const out = new Float32Array(120);
      this.playout.pull(out, this.clock);
      this.heard.push(...out);
      this.clock += 120;
    }
  }

  /** Play packets that come exactly when they are due. */
  flow(first, count, value) {
    for (let sequence = first; sequence < first + count; sequence++) {
      this.push(sequence, value);
      this.pull(20);
    }
  }
}

/** Speech has no step larger than this after smoothing. */
function largestStep(samples) {
  return samples.slice(1).reduce((most, sample, index) => Math.max(most, Math.abs(sample - samples[index])), 0);
}

test("nothing plays until the target is reached, then every sample does, in order", () => {
  const rig = new Rig();
  const sound = Float32Array.from({ length: 10 * FRAME }, (_, index) => Math.sin(index / 20) * 0.3);
  rig.push(0, sound.slice(0, FRAME));
  rig.pull(15);
  assert.ok(rig.heard.every((sample) => sample === 0));
  for (let sequence = 1; sequence < 10; sequence++) {
    rig.push(sequence, sound.slice(sequence * FRAME, (sequence + 1) * FRAME));
    rig.pull(20);
  }
  const begin = rig.heard.findIndex((sample) => sample !== 0);
  const heard = rig.heard.slice(begin - 1, begin - 1 + 8 * FRAME); // The first sample is a zero.
  heard.forEach((sample, index) => assert.ok(Math.abs(sample - sound[index]) < 1e-6, `sample ${index}`));
  assert.equal(rig.playout.dropped, 0);
});

test("it says which packet was played last, how much waits, and when each began", () => {
  const rig = new Rig();
  assert.equal(rig.playout.played, -1);
  rig.push(7);
  rig.push(8);
  rig.pull(30);
  assert.equal(rig.playout.played, 7);
  assert.equal(rig.playout.depth, 10 * MS);
  assert.deepEqual(rig.playout.takeStarted(), [[7, 0], [8, 20 * MS]]);
  assert.deepEqual(rig.playout.takeStarted(), []);
});

test("a packet that begins in the middle of a block is dated to the sample", () => {
  const rig = new Rig();
  rig.push(0, new Float32Array(2000));
  rig.push(1);
  rig.pull(50);
  assert.deepEqual(rig.playout.takeStarted(), [[0, 0], [1, 2000]]);
});

test("a gap is silence without a click, is counted once, and ends at a higher target", () => {
  const rig = new Rig();
  rig.push(0);
  rig.flow(1, 5);
  rig.pull(60);
  assert.equal(rig.heard.at(-1), 0);
  assert.equal(rig.playout.target.underruns, 0);
  rig.push(6);
  rig.push(7);
  rig.pull(5);
  assert.equal(rig.heard.at(-1), 0);
  rig.push(8);
  rig.pull(20);
  assert.equal(rig.playout.target.underruns, 1);
  assert.equal(rig.playout.target.samples, 60 * MS);
  assert.ok(largestStep(rig.heard) < 0.01);
});

test("a stream that stops for a second and goes on is no jitter", () => {
  const rig = new Rig();
  rig.push(0);
  rig.flow(1, 5);
  rig.pull(1000);
  rig.push(6);
  rig.flow(7, 3);
  assert.deepEqual([rig.playout.target.underruns, rig.playout.target.samples], [0, 40 * MS]);
});

test("what comes all at once after a stall is cut to the target at once, its end played, without a click", () => {
  const rig = new Rig();
  rig.push(0);
  rig.flow(1, 5);
  for (let sequence = 6; sequence < 30; sequence++) rig.push(sequence, 0.4);
  assert.ok(rig.playout.depth <= 240 * MS);
  assert.ok(rig.playout.dropped > 200 * MS);
  rig.pull(300);
  assert.equal(rig.playout.played, 29);
  assert.ok(largestStep(rig.heard) < 0.01);
});

test("delay that is not needed is cut in the next quiet moment", () => {
  const rig = new Rig();
  rig.push(0);
  rig.push(1);
  rig.push(2);
  rig.flow(3, 80);
  assert.equal(rig.playout.dropped, 0, "not while somebody speaks");
  rig.flow(83, 3, 0);
  rig.flow(86, 5);
  assert.ok(rig.playout.dropped >= 20 * MS);
  assert.ok(rig.playout.depth <= 30 * MS, `${rig.playout.depth / MS} ms`);
  assert.equal(rig.playout.target.underruns, 0);
});

test("and after three seconds without one it is cut all the same", () => {
  const rig = new Rig();
  rig.push(0);
  rig.push(1);
  rig.push(2);
  rig.flow(3, 250);
  assert.ok(rig.playout.dropped >= 20 * MS);
  assert.ok(largestStep(rig.heard) < 0.01);
});

test("it never holds more than a second, whatever is pushed", () => {
  const rig = new Rig();
  rig.push(0, new Float32Array(40_000));
  rig.push(1, new Float32Array(40_000));
  assert.ok(rig.playout.depth <= 48_000);
  assert.equal(rig.playout.depth + rig.playout.dropped, 80_000);
});
