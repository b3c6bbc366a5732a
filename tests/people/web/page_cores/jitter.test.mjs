import assert from "node:assert/strict";
import test from "node:test";
import { JitterTarget, MAXIMUM, MINIMUM } from "../../../../plexbridge/people/web/page/jitter.js";

const MS = 48;
const SECOND = 1000 * MS;

/** Play for some seconds, with so much left each time. */
function play(target, seconds, depth) {
  for (let played = 0; played < seconds * SECOND; played += 128) target.played(128, depth);
}

test("the target begins at 40 ms, and each short gap raises it by 20 ms, to 120 ms at most", () => {
  const target = new JitterTarget();
  const seen = [target.samples / MS];
  for (let gap = 0; gap < 6; gap++) {
    target.resumed(10 * MS);
    seen.push(target.samples / MS);
  }
  assert.deepEqual(seen, [40, 60, 80, 100, 120, 120, 120]);
  assert.equal(target.samples, MAXIMUM);
  assert.equal(target.underruns, 6);
});

test("a stop of more than 300 ms is not taken for jitter", () => {
  const target = new JitterTarget();
  target.resumed(301 * MS);
  assert.deepEqual([target.samples, target.underruns], [40 * MS, 0]);
});

test("it comes down, 10 ms at a time, while that much is never needed, and not below 20 ms", () => {
  const target = new JitterTarget();
  play(target, 20.1, 12 * MS);
  assert.equal(target.samples, 30 * MS);
  play(target, 60, 12 * MS);
  assert.equal(target.samples, MINIMUM);
});

test("it stays where all of it was needed even once", () => {
  const target = new JitterTarget();
  play(target, 10, 30 * MS);
  target.played(128, 9 * MS);
  play(target, 12, 30 * MS);
  assert.equal(target.samples, 40 * MS);
});

test("after a gap it is tried again only after twice the time", () => {
  const target = new JitterTarget();
  target.resumed(10 * MS);
  play(target, 39, 30 * MS);
  assert.equal(target.samples, 60 * MS);
  play(target, 2, 30 * MS);
  assert.equal(target.samples, 50 * MS);
});
