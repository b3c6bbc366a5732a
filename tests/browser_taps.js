/**
 * Taps for the tests and the benchmark, put into the page before its own scripts run: what the microphone gives the page
 * and what the page gives the loudspeaker, recorded side by side on the audio context's clock. The page knows nothing
 * of it.
 */
(() => {
  const RECORDER = new Blob([TAPS_WORKLET], { type: "text/javascript" });
  const connect = AudioNode.prototype.connect;
  const recorders = new Map();
  globalThis.taps = { heard: [], played: [] };

  async function recorder(context) {
    await context.audioWorklet.addModule(URL.createObjectURL(RECORDER));
    const node = new AudioWorkletNode(context, "taps", { numberOfInputs: 2, numberOfOutputs: 0 });
    node.port.onmessage = ({ data: [heard, played] }) => {
      taps.heard.push(...heard);
      taps.played.push(...played);
    };
    return node;
  }

  AudioNode.prototype.connect = function (target, ...rest) {
    const input = this instanceof MediaStreamAudioSourceNode ? 0 : target instanceof AudioDestinationNode ? 1 : null;
    if (input !== null) {
      if (!recorders.has(this.context)) recorders.set(this.context, recorder(this.context));
      void recorders.get(this.context).then((node) => connect.call(this, node, 0, input));
    }
    return connect.call(this, target, ...rest);
  };

  /** Forget what was recorded so far. */
  taps.restart = () => (taps.heard = []) && (taps.played = []);

  /** Return what was recorded, as text of 16-bit samples in base64. */
  taps.take = () => {
    const text = (blocks) => {
      const samples = new Int16Array(128 * blocks.length);
      blocks.forEach((block, index) => samples.set(block.map((value) => Math.max(-1, Math.min(1, value)) * 32767), 128 * index));
      const bytes = new Uint8Array(samples.buffer);
      let characters = "";
      for (let start = 0; start < bytes.length; start += 8192) characters += String.fromCharCode(...bytes.subarray(start, start + 8192));
      return btoa(characters);
    };
    return { heard: text(taps.heard), played: text(taps.played) };
  };
})();
