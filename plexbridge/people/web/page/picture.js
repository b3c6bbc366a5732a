/**
 * The scrolling picture of both voices: levels as bars, the person's upwards and the other's downwards, so that one
 * sees who spoke when, and both at once.
 *
 * Levels are dated by the audio context's clock. What is played is reported in batches, so the picture ends a little
 * before now.
 */

import { FRAME_SAMPLES, RATE_HZ } from "./message.js";

const HISTORY = 2048;
const FRAMES_PER_BAR = 4;
const BAR_SAMPLES = FRAMES_PER_BAR * FRAME_SAMPLES;
const PITCH_PIXELS = 6;
const BAR_PIXELS = 3.5;
const BEHIND_SAMPLES = RATE_HZ / 5;
const FAINT_DBFS = -58;
const LOUD_DBFS = -6;

/** Return the height for a level, from 0 to 1. */
export function height(levelDbfs) {
  return Math.max(0, Math.min(1, (levelDbfs - FAINT_DBFS) / (LOUD_DBFS - FAINT_DBFS)));
}

class Voice {
  #levels = new Float32Array(HISTORY).fill(-100);
  #latest = -1;

  /** A frame that began at `clock` had this level. */
  add(level, clock) {
    const frame = Math.max(0, Math.round(clock / FRAME_SAMPLES));
    if (this.#latest >= 0) {
      for (let missing = Math.max(this.#latest + 1, frame - HISTORY); missing < frame; missing++) {
        this.#levels[missing % HISTORY] = -100;
      }
    }
    this.#levels[frame % HISTORY] = level;
    this.#latest = Math.max(this.#latest, frame);
  }

  /** Return the highest level in a bar; nothing is known outside of the history. */
  bar(number) {
    let highest = -100;
    for (let frame = number * FRAMES_PER_BAR; frame < (number + 1) * FRAMES_PER_BAR; frame++) {
      if (frame < 0 || frame > this.#latest || frame <= this.#latest - HISTORY) continue;
      highest = Math.max(highest, this.#levels[frame % HISTORY]);
    }
    return highest;
  }
}

export class Picture {
  #canvas;
  #isStill;
  #you;
  #other;

  /** `isStill` says whether people want no motion: then the picture moves on in steps of a second. */
  constructor(canvas, isStill) {
    this.#canvas = canvas;
    this.#isStill = isStill;
    this.clear();
  }

  clear() {
    this.#you = new Voice();
    this.#other = new Voice();
  }

  heard(level, clock) {
    this.#you.add(level, clock);
  }

  /** Levels of frames of 20 ms, the last of which ended at `clock`. */
  played(levels, clock) {
    levels.forEach((level, index) => this.#other.add(level, clock - (levels.length - index) * FRAME_SAMPLES));
  }

  draw(clock) {
    const { context, width, height: tall } = fit(this.#canvas);
    const style = getComputedStyle(this.#canvas);
    const colours = { you: style.getPropertyValue("--you"), other: style.getPropertyValue("--accent") };
    const middle = tall / 2;
    const end = (this.#isStill() ? Math.floor(clock / RATE_HZ) * RATE_HZ : clock) - BEHIND_SAMPLES;
    const last = Math.floor(end / BAR_SAMPLES);
    context.clearRect(0, 0, width, tall);
    for (let number = last; ; number--) {
      const left = width - ((end - number * BAR_SAMPLES) / BAR_SAMPLES) * PITCH_PIXELS;
      if (left < -PITCH_PIXELS) break;
      // Older bars are fainter: the eye stays where something happens.
      context.globalAlpha = 0.35 + 0.65 * Math.max(0, left / width);
      bar(context, left, middle - 1.5, -height(this.#you.bar(number)) * (middle - 6), colours.you);
      bar(context, left, middle + 1.5, height(this.#other.bar(number)) * (middle - 6), colours.other);
    }
    context.globalAlpha = 1;
  }
}

function bar(context, left, from, tall, colour) {
  const length = Math.max(2, Math.abs(tall));
  context.fillStyle = colour;
  context.beginPath();
  context.roundRect(left, tall < 0 ? from - length : from, BAR_PIXELS, length, BAR_PIXELS / 2);
  context.fill();
}

/** Make the canvas's pixels the screen's; return what to draw with, in CSS pixels. */
export function fit(canvas) {
  const scale = globalThis.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  const [wide, tall] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== wide || canvas.height !== tall) [canvas.width, canvas.height] = [wide, tall];
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return { context, width, height };
}
