/** The loudspeaker: packets' samples in, through the playout buffer in the audio thread. */

export class Speaker {
  #node;

  /** `onReport` gets what playback-worklet.js reports, ten times a second. */
  static async open(context, onReport) {
    await context.audioWorklet.addModule(new URL("playback-worklet.js", import.meta.url));
    return new Speaker(context, onReport);
  }

  constructor(context, onReport) {
    this.#node = new AudioWorkletNode(context, "playback", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#node.port.onmessage = ({ data }) => onReport(data);
    this.#node.connect(context.destination);
  }

  play(sequence, samples) {
    this.#node.port.postMessage({ sequence, samples }, [samples.buffer]);
  }

  /** Forget what waits, and begin anew: another connection counts its packets from 0. */
  reset() {
    this.#node.port.postMessage("reset");
  }

  close() {
    this.#node.port.onmessage = null;
    this.#node.disconnect();
  }
}
