/**
 * Frames to payloads and back: Opus by the browser (WebCodecs), or 16-bit samples where it has none.
 *
 * A codec is told what to do with each result when it is made, because WebCodecs answers later. One packet comes out
 * for each frame that goes in, in order, so the sequence numbers wait in a row.
 */

import { RATE_HZ, FRAME_MS, packSamples, unpackSamples } from "./message.js";

const SOUND = { codec: "opus", sampleRate: RATE_HZ, numberOfChannels: 1 };
const ENCODING = {
  ...SOUND,
  bitrate: 32_000,
  opus: { frameDuration: 1000 * FRAME_MS, application: "voip", signal: "voice" },
};
/** A decoder that fails is made anew, but not for ever. */
const DECODER_FAULTS = 5;

/** Return the best codec that this browser has: "opus" or "pcm16". */
export async function chooseCodec() {
  if (!globalThis.AudioEncoder || !globalThis.AudioDecoder) return "pcm16";
  try {
    const [encoder, decoder] = await Promise.all([
      AudioEncoder.isConfigSupported(ENCODING),
      AudioDecoder.isConfigSupported(SOUND),
    ]);
    return encoder.supported && decoder.supported ? "opus" : "pcm16";
  } catch {
    return "pcm16"; // It does not know the words of the configuration.
  }
}

/**
 * Return the codec of that name.
 *
 * `to` has `payload(sequence, bytes)`, `samples(sequence, floats)` and `failed()`, after which nothing more comes.
 */
export function makeCodec(name, to) {
  return name === "opus" ? new OpusCodec(to) : new SampleCodec(to);
}

class SampleCodec {
  #to;

  constructor(to) {
    this.#to = to;
  }

  encode(sequence, samples) {
    this.#to.payload(sequence, packSamples(samples));
  }

  decode(sequence, payload) {
    this.#to.samples(sequence, unpackSamples(payload));
  }

  close() {}
}

class OpusCodec {
  #to;
  #encoder;
  #encoding = [];
  #decoder;
  #decoding = [];
  #faults = 0;
  #isClosed = false;

  constructor(to) {
    this.#to = to;
    this.#encoder = new AudioEncoder({ output: (chunk) => this.#encoded(chunk), error: () => this.#fail() });
    this.#encoder.configure(ENCODING);
    this.#startDecoder();
  }

  encode(sequence, samples) {
    if (this.#isClosed) return;
    this.#encoding.push(sequence);
    const data = new AudioData({
      format: "f32",
      sampleRate: RATE_HZ,
      numberOfFrames: samples.length,
      numberOfChannels: 1,
      timestamp: sequence * 1000 * FRAME_MS,
      data: samples,
    });
    this.#encoder.encode(data);
    data.close();
  }

  decode(sequence, payload) {
    if (this.#isClosed) return;
    this.#decoding.push(sequence);
    const timestamp = sequence * 1000 * FRAME_MS;
    this.#decoder.decode(new EncodedAudioChunk({ type: "key", timestamp, duration: 1000 * FRAME_MS, data: payload }));
  }

  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const part of [this.#encoder, this.#decoder]) if (part.state !== "closed") part.close();
  }

  #startDecoder() {
    this.#decoding = [];
    this.#decoder = new AudioDecoder({ output: (data) => this.#decoded(data), error: () => this.#replaceDecoder() });
    this.#decoder.configure(SOUND);
  }

  /** A packet that is no Opus closes a decoder; the next one may be good. */
  #replaceDecoder() {
    if (this.#isClosed) return;
    this.#faults += 1;
    if (this.#faults > DECODER_FAULTS) this.#fail();
    else this.#startDecoder();
  }

  #encoded(chunk) {
    if (this.#isClosed) return;
    const payload = new Uint8Array(chunk.byteLength);
    chunk.copyTo(payload);
    this.#to.payload(this.#encoding.shift(), payload);
  }

  #decoded(data) {
    const samples = new Float32Array(data.numberOfFrames);
    data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    data.close();
    if (!this.#isClosed) this.#to.samples(this.#decoding.shift(), samples);
  }

  #fail() {
    if (this.#isClosed) return;
    this.close();
    this.#to.failed();
  }
}
