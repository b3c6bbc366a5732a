/** The microphone: asked for, captured in frames of 20 ms, muted, and changed while a conversation lasts. */

/**
 * All three are on. Without echo cancellation the model hears itself from the loudspeaker and answers itself.
 * Without noise suppression a fan or a keyboard takes turns in the conversation. Without gain control some laptops'
 * microphones are too faint for a model that was trained on close ones; suppression keeps it from raising the noise.
 */
const PROCESSING = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

export class Microphone {
  #context;
  #node;
  #stream = null;
  #source = null;
  #isMuted = false;

  /** `onFrame` gets `{clock, samples}` for each frame, and `onLost` is called when the device goes away. */
  static async open(context, deviceId, { onFrame, onLost }) {
    await context.audioWorklet.addModule(new URL("capture-worklet.js", import.meta.url));
    const microphone = new Microphone(context, onFrame);
    microphone.onLost = onLost;
    await microphone.use(deviceId);
    return microphone;
  }

  constructor(context, onFrame) {
    this.#context = context;
    this.#node = new AudioWorkletNode(context, "capture", {
      numberOfInputs: 1,
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: "explicit",
    });
    this.#node.port.onmessage = ({ data }) => onFrame(data);
  }

  /** Hear this device from now on; "" is the one that the system prefers. Raises what getUserMedia raises. */
  async use(deviceId) {
    const device = deviceId ? { deviceId: { exact: deviceId } } : {};
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { ...PROCESSING, channelCount: 1, ...device } });
    this.#release();
    this.#stream = stream;
    this.#track.enabled = !this.#isMuted;
    this.#track.onended = () => this.onLost();
    this.#source = this.#context.createMediaStreamSource(stream);
    this.#source.connect(this.#node);
  }

  /** The browser itself gives silence then, and shows that. */
  set isMuted(isMuted) {
    this.#isMuted = isMuted;
    if (this.#stream) this.#track.enabled = !isMuted;
  }

  /** In seconds, as far as the browser knows it. */
  get latencySeconds() {
    return this.#stream ? (this.#track.getSettings().latency ?? 0) : 0;
  }

  close() {
    this.#release();
    this.#node.port.onmessage = null;
    this.#node.disconnect();
  }

  get #track() {
    return this.#stream.getAudioTracks()[0];
  }

  #release() {
    this.#source?.disconnect();
    if (!this.#stream) return;
    this.#track.onended = null;
    for (const track of this.#stream.getTracks()) track.stop();
    this.#stream = null;
  }
}
