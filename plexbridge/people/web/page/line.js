/**
 * One connection to /ws/voice, from its hello to its end.
 *
 * It never lets captured sound wait: when the network stalls, which `bufferedAmount` shows, frames are dropped and
 * counted, and leave a gap in the sequence numbers. A line on which the service has said nothing for 5 s is given up.
 */

import { makeCodec } from "./codec.js";
import { VERSION, packAudio, unpackAudio } from "./message.js";

/** So many frames may wait in the socket: 200 ms. */
const WAITING_FRAMES = 10;
/** Reports of the loudspeaker come ten times a second; statistics go out with every second one. */
const REPORTS_PER_STATS = 2;
const SILENT_REPORTS = 50;
const BYE = JSON.stringify({ type: "bye" });

/** Return the address of the endpoint: next to the page, wherever that is served from. */
function address() {
  const url = new URL("ws/voice", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  return url;
}

export class Line {
  #to;
  #socket;
  #codec = null;
  #codecName;
  #sequence = 0;
  #reports = 0;
  #reportsSinceWord = 0;
  #said = "";
  #isReady = false;
  #isEnded = false;

  /** Frames that were not sent because the network stalled. */
  dropped = 0;

  /**
   * Connect, and say hello with `wishes`, which include the codec.
   *
   * `to` has `message(object)` for each text message, `sound(sequence, samples)` for each packet,
   * `codecFailed()`, and `ended(code, sentence, wasOpen)`, once, after which nothing more comes.
   */
  constructor(wishes, to) {
    this.#to = to;
    this.#codecName = wishes.codec;
    this.#socket = new WebSocket(address());
    this.#socket.binaryType = "arraybuffer";
    let wasOpen = false;
    this.#socket.onopen = () => {
      wasOpen = true;
      this.#socket.send(JSON.stringify({ type: "hello", version: VERSION, ...wishes }));
    };
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onclose = ({ code }) => this.#end(code, wasOpen);
  }

  /** Send a captured frame; return its sequence number, or undefined before the service is ready for it. */
  speak(samples) {
    if (!this.#isReady) return undefined;
    const sequence = this.#sequence++;
    this.#codec.encode(sequence, samples);
    return sequence;
  }

  /** Leave a captured frame out: nothing is sent, and time goes on. */
  skip() {
    if (this.#isReady) this.#sequence += 1;
  }

  /** Ten times a second: what the loudspeaker reports. */
  report({ played, depthMs }) {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#reportsSinceWord += 1;
    if (this.#reportsSinceWord > SILENT_REPORTS) {
      this.#end(1006, true);
      return;
    }
    if (this.#reports++ % REPORTS_PER_STATS) return;
    this.#socket.send(JSON.stringify({ type: "stats", clock_ms: performance.now(), played, depth_ms: depthMs }));
  }

  /** Hang up: the service is told, and `ended` is not called. */
  close() {
    if (this.#isEnded) return;
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(BYE);
    this.#finish();
  }

  #receive(data) {
    if (this.#isEnded) return;
    this.#reportsSinceWord = 0;
    if (typeof data !== "string") {
      const audio = unpackAudio(data);
      if (audio) this.#codec?.decode(audio.sequence, audio.payload);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "ready" && !this.#isReady) this.#start();
    if (message.type === "error" || message.type === "bye") this.#said = message.message ?? "";
    this.#to.message(message);
  }

  #start() {
    this.#codec = makeCodec(this.#codecName, {
      payload: (sequence, payload) => this.#send(packAudio(sequence, payload)),
      samples: (sequence, samples) => this.#to.sound(sequence, samples),
      failed: () => this.#to.codecFailed(),
    });
    this.#isReady = true;
  }

  #send(message) {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    if (this.#socket.bufferedAmount > WAITING_FRAMES * message.length) this.dropped += 1;
    else this.#socket.send(message);
  }

  #end(code, wasOpen) {
    if (this.#isEnded) return;
    this.#finish();
    this.#to.ended(code, this.#said, wasOpen);
  }

  #finish() {
    this.#isEnded = true;
    this.#isReady = false;
    this.#codec?.close();
    this.#socket.onclose = this.#socket.onmessage = this.#socket.onopen = null;
    this.#socket.close(1000);
  }
}
