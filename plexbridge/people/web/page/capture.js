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
  /** Counts calls of `use`, and of `close`: a device that comes after the next one is not wanted any more. */
  #wish = 0;

  /** `onFrame` gets `{clock, samples}` for each frame, and `onLost` is called when the device goes away. */
  static async open(context, deviceId, { onFrame, onLost }) {
    await context.audioWorklet.addModule(new URL("capture-worklet.js", import.meta.url));
    const microphone = new Microphone(context, onFrame);
    microphone.onLost = onLost;
    try {
      await microphone.use(deviceId);
    } catch (error) {
      microphone.close();
      throw error;
    }
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

  /**
   * Hear this device from now on; "" is the one that the system prefers. Raises what getUserMedia raises.
   *
   * Return false when another one was wished for meanwhile, or none any more: then this one is let go.
   */
  async use(deviceId) {
    const wish = ++this.#wish;
    const device = deviceId ? { deviceId: { exact: deviceId } } : {};
    const asked = navigator.mediaDevices.getUserMedia({ audio: { ...PROCESSING, channelCount: 1, ...device } });
    const stream = await asked.catch((error) => {
      if (wish === this.#wish) throw error;
      return null;
    });
    if (wish !== this.#wish) {
      stopTracks(stream);
      return false;
    }
    this.#release();
    this.#stream = stream;
    this.#track.enabled = !this.#isMuted;
    this.#track.onended = () => this.onLost();
    this.#source = this.#context.createMediaStreamSource(stream);
    this.#source.connect(this.#node);
    return true;
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
    this.#wish += 1;
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
    stopTracks(this.#stream);
    this.#stream = null;
  }
}

function stopTracks(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
