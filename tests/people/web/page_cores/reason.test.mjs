import assert from "node:assert/strict";
import test from "node:test";
import { closeReason, deviceWords, microphoneWords, unfitWords, unreachableWords } from "../../../../plexbridge/people/web/page/reason.js";

const FIT = { isSecureContext: true, navigator: { mediaDevices: { getUserMedia() {} } }, AudioWorkletNode: class {}, WebSocket: class {} };

test("a browser that has all it needs is fit, and each lack has its words", () => {
  assert.equal(unfitWords(FIT), null);
  assert.match(unfitWords({ ...FIT, isSecureContext: false }), /https/);
  for (const lack of [{ navigator: {} }, { AudioWorkletNode: undefined }, { WebSocket: undefined }]) {
    assert.match(unfitWords({ ...FIT, ...lack }), /too old/);
  }
});

test("what can be wrong with a microphone is told apart", () => {
  const names = ["NotAllowedError", "NotFoundError", "NotReadableError", "OverconstrainedError", "TimeoutError", "AbortError"];
  const words = names.map((name) => microphoneWords({ name }));
  assert.equal(new Set(words).size, names.length);
  assert.match(words[0], /refused/);
  assert.match(words[1], /No microphone/);
});

test("a device that can't be changed to is named, with the reason where it is known", () => {
  assert.match(deviceWords("microphone", { name: "NotReadableError" }), /chosen microphone .*another program.* stays in use/);
  assert.match(deviceWords("loudspeaker", { name: "AbortError" }), /chosen loudspeaker can't be used\. /);
});

test("the service's own sentence is what people read", () => {
  assert.deepEqual(closeReason(4502, "The model is gone."), { words: "The model is gone.", isWorthTrying: false });
});

test("it is tried again after what may pass, and not after what will not", () => {
  const again = (code) => closeReason(code, "").isWorthTrying;
  assert.deepEqual([1001, 1006, 4408, 4429, 4500].map(again), Array(5).fill(true));
  assert.deepEqual([1000, 1009, 4400, 4401, 4404, 4410, 4502].map(again), Array(7).fill(false));
  assert.match(closeReason(1006, "").words, /lost/);
});

test("a service that is gone, full, behind a broken proxy, or out of reach offline are different sentences", () => {
  const all = [unreachableWords(null, false), ...[null, 200, 403, 502].map((status) => unreachableWords(status, true))];
  assert.equal(new Set(all).size, 5);
});

test("an address that the service does not accept is said with its cure, and what can't be known is left open", () => {
  for (const status of [403, 421]) assert.match(unreachableWords(status, true), /not accept this address.* web\.origins/);
  assert.match(unreachableWords(200, true), /may be full, or .* web\.origins/);
});
