import assert from "node:assert/strict";
import test from "node:test";
import { Pauses } from "../../../../plexbridge/people/web/page/retry.js";

test("pauses double from half a second to 15 s, and begin anew after a success", () => {
  const pauses = new Pauses(() => 1);
  assert.deepEqual(Array.from({ length: 7 }, () => pauses.next()), [0.5, 1, 2, 4, 8, 15, 15]);
  pauses.succeeded();
  assert.equal(pauses.next(), 0.5);
});

test("chance shortens a pause by half at most", () => {
  const pauses = new Pauses(() => 0);
  assert.deepEqual([pauses.next(), pauses.next()], [0.25, 0.5]);
});
