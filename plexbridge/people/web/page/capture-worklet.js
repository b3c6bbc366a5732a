/** Cuts what the microphone hears into frames of 20 ms, each with the audio context's clock at its first sample. */

import { FRAME_SAMPLES } from "./message.js";

class Capture extends AudioWorkletProcessor {
  #frame = new Float32Array(FRAME_SAMPLES);
  #filled = 0;
  #clock = 0;

  process([input]) {
    const samples = input[0];
    // Without an input (the microphone is being changed) there is nothing to hear, and time goes on all the same.
    const count = samples ? samples.length : 128;
    for (let index = 0; index < count; index++) {
      if (this.#filled === 0) this.#clock = currentFrame + index;
      this.#frame[this.#filled++] = samples ? samples[index] : 0;
      if (this.#filled === FRAME_SAMPLES) this.#send();
    }
    return true;
  }

  #send() {
    this.port.postMessage({ clock: this.#clock, samples: this.#frame }, [this.#frame.buffer]);
    this.#frame = new Float32Array(FRAME_SAMPLES);
    this.#filled = 0;
  }
}

registerProcessor("capture", Capture);
