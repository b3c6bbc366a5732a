import assert from "node:assert/strict";
import test from "node:test";
import { LoopDelay } from "../../../../plexbridge/people/web/page/delay.js";

test("the delay is from a frame's capture to its playing, found by its sequence number", () => {
  const delay = new LoopDelay("pcm16");
  assert.equal(delay.ms, null);
  delay.captured(3, 1000);
  delay.captured(4, 1960);
  delay.played(4, 1960 + 48 * 50);
  assert.equal(delay.ms, 50);
});

test("Opus's own look-ahead is in it", () => {
  const delay = new LoopDelay("opus");
  delay.captured(0, 0);
  delay.played(0, 48 * 40);
  assert.equal(delay.ms, 46.5);
});

test("a frame that nobody captured, or that is played twice, measures nothing", () => {
  const delay = new LoopDelay("pcm16");
  delay.captured(0, 0);
  delay.played(1, 48 * 10);
  assert.equal(delay.ms, null);
  delay.played(0, 48 * 10);
  delay.played(0, 48 * 90);
  assert.equal(delay.ms, 10);
});

test("one late frame does not change what is shown, and a lasting change does after a second", () => {
  const delay = new LoopDelay("pcm16");
  for (let sequence = 0; sequence < 100; sequence++) {
    delay.captured(sequence, 0);
    delay.played(sequence, 48 * (sequence === 20 ? 500 : sequence < 50 ? 40 : 60));
    if (sequence === 49) assert.equal(delay.ms, 40);
  }
  assert.equal(delay.ms, 60);
});
