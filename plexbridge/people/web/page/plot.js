/** The small plot of the last minute: round trip and playout depth, in milliseconds, on one scale from 0. */

import { fit } from "./picture.js";

const POINTS = 300;
const SCALES_MS = [50, 100, 200, 500, 1000, 2000, 5000, 10_000];

export class Plot {
  #canvas;
  #lines = { roundTrip: [], depth: [] };

  constructor(canvas) {
    this.#canvas = canvas;
  }

  clear() {
    this.#lines = { roundTrip: [], depth: [] };
  }

  /** Five times a second. */
  add(roundTripMs, depthMs) {
    for (const [line, value] of [[this.#lines.roundTrip, roundTripMs], [this.#lines.depth, depthMs]]) {
      line.push(value);
      if (line.length > POINTS) line.shift();
    }
  }

  draw() {
    const { context, width, height } = fit(this.#canvas);
    const style = getComputedStyle(this.#canvas);
    const highest = Math.max(0, ...this.#lines.roundTrip, ...this.#lines.depth);
    const scaleMs = SCALES_MS.find((scale) => scale >= highest) ?? highest;
    context.clearRect(0, 0, width, height);
    context.font = `11px ${style.fontFamily}`;
    context.textBaseline = "top";
    for (const [share, name] of [[0, `${scaleMs} ms`], [0.5, `${scaleMs / 2}`]]) {
      const top = Math.round(share * (height - 2)) + 0.5;
      context.fillStyle = style.getPropertyValue("--line");
      context.fillRect(0, top, width, 1);
      context.fillStyle = style.getPropertyValue("--faint");
      context.fillText(name, 0, top + 3);
    }
    this.#draw(context, this.#lines.roundTrip, style.getPropertyValue("--you"), width, height, scaleMs);
    this.#draw(context, this.#lines.depth, style.getPropertyValue("--accent"), width, height, scaleMs);
  }

  #draw(context, line, colour, width, height, scaleMs) {
    context.strokeStyle = colour;
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    context.beginPath();
    line.forEach((value, index) => {
      const left = width - ((line.length - 1 - index) / (POINTS - 1)) * width;
      context.lineTo(left, height - 1.5 - (Math.min(value, scaleMs) / scaleMs) * (height - 3));
    });
    context.stroke();
  }
}
