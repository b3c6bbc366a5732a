import assert from "node:assert/strict";
import test from "node:test";
import { levelDbfs, packAudio, packSamples, unpackAudio, unpackSamples } from "../../../../plexbridge/people/web/page/message.js";

test("a message is a 1, the sequence number with its highest byte first, and the payload", () => {
  assert.deepEqual([...packAudio(0x01020304, new Uint8Array([9, 8]))], [1, 1, 2, 3, 4, 9, 8]);
});

test("a message comes out as it went in, up to the highest sequence number, behind which it begins anew", () => {
  for (const [sequence, expected] of [[0, 0], [2 ** 32 - 1, 2 ** 32 - 1], [2 ** 32, 0]]) {
    const unpacked = unpackAudio(packAudio(sequence, new Uint8Array([5])).buffer);
    assert.deepEqual([unpacked.sequence, [...unpacked.payload]], [expected, [5]]);
  }
});

test("what is too short or of another type is no audio", () => {
  for (const bytes of [[], [1], [1, 0, 0, 0, 0], [2, 0, 0, 0, 0, 7]]) {
    assert.equal(unpackAudio(new Uint8Array(bytes).buffer), null);
  }
});

test("samples are 16 bits, the low byte first, and too loud ones are clipped", () => {
  assert.deepEqual([...packSamples(new Float32Array([0, 0.5, -0.5, 2, -2]))], [0, 0, 0, 64, 0, 192, 255, 127, 0, 128]);
});

test("samples come back within half a step, also from the middle of a message", () => {
  const samples = Float32Array.from({ length: 960 }, (_, index) => Math.sin(index / 7) * 0.99);
  const { payload } = unpackAudio(packAudio(3, packSamples(samples)).buffer);
  const back = unpackSamples(payload);
  assert.equal(back.length, 960);
  samples.forEach((sample, index) => assert.ok(Math.abs(sample - back[index]) <= 0.5 / 32_768 + 1e-9));
});

test("silence is -100 dBFS, and a square wave at full scale is 0", () => {
  assert.equal(levelDbfs(new Float32Array(960)), -100);
  assert.ok(Math.abs(levelDbfs(new Float32Array(960).fill(-1))) < 0.001);
});
