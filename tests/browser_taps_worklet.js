/** Passes on both inputs in blocks of 128 samples, 200 ms at a time; an input without a source is silent. */
registerProcessor(
  "taps",
  class extends AudioWorkletProcessor {
    #blocks = [[], []];

    process(inputs) {
      inputs.forEach((input, index) => this.#blocks[index].push(input[0] ? input[0].slice() : new Float32Array(128)));
      if (this.#blocks[0].length === 75) {
        this.port.postMessage(this.#blocks);
        this.#blocks = [[], []];
      }
      return true;
    }
  },
);
