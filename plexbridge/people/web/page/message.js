/**
 * The binary messages of /ws/voice: a type, a sequence number, and 20 ms of sound. docs/ws-voice.md has the format.
 *
 * Pure: values in, values out.
 */

export const VERSION = 1;
export const RATE_HZ = 48_000;
export const FRAME_SAMPLES = 960;
export const FRAME_MS = 20;

const AUDIO = 1;
const HEADER_BYTES = 5;
const SEQUENCES = 2 ** 32;

/** Return the message for one frame's payload, a Uint8Array. */
export function packAudio(sequence, payload) {
  const message = new Uint8Array(HEADER_BYTES + payload.length);
  const header = new DataView(message.buffer);
  header.setUint8(0, AUDIO);
  header.setUint32(1, sequence % SEQUENCES);
  message.set(payload, HEADER_BYTES);
  return message;
}

/** Return the sequence number and the payload of a message (an ArrayBuffer), or null for what is no audio. */
export function unpackAudio(message) {
  if (message.byteLength <= HEADER_BYTES) return null;
  const header = new DataView(message);
  if (header.getUint8(0) !== AUDIO) return null;
  return { sequence: header.getUint32(1), payload: new Uint8Array(message, HEADER_BYTES) };
}

/** Return samples as 16-bit little-endian bytes; what is louder than full scale is clipped. */
export function packSamples(samples) {
  const payload = new Uint8Array(2 * samples.length);
  const view = new DataView(payload.buffer);
  for (let index = 0; index < samples.length; index++) {
    const value = Math.max(-32_768, Math.min(32_767, Math.round(samples[index] * 32_768)));
    view.setInt16(2 * index, value, true);
  }
  return payload;
}

/** Return the samples of 16-bit little-endian bytes. */
export function unpackSamples(payload) {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const samples = new Float32Array(Math.floor(payload.byteLength / 2));
  for (let index = 0; index < samples.length; index++) samples[index] = view.getInt16(2 * index, true) / 32_768;
  return samples;
}

/** Return the level of samples in dBFS, not below -100. */
export function levelDbfs(samples) {
  let energy = 0;
  for (const sample of samples) energy += sample * sample;
  return Math.max(-100, 10 * Math.log10(energy / Math.max(1, samples.length) + 1e-10));
}
