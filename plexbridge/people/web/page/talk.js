/**
 * One conversation, from the press of the button to its end: the microphone and the loudspeaker, and one connection
 * after another for as long as the person wants it.
 *
 * States: asking (for the microphone), starting (the sound), connecting, queue, preparing, talking, reconnecting, ended.
 * It ends for good when the person says so, when the microphone goes away, or when the service says that another attempt
 * would not help.
 */

import { Microphone } from "./capture.js";
import { chooseCodec } from "./codec.js";
import { LoopDelay } from "./delay.js";
import { Line } from "./line.js";
import { RATE_HZ, levelDbfs } from "./message.js";
import { Speaker } from "./playback.js";
import { closeReason, deviceWords, microphoneWords, unreachableWords } from "./reason.js";
import { Pauses } from "./retry.js";

/** What a model does, as the page's states. */
const MODEL_STATES = { connecting: "preparing", preparing: "preparing", lost: "preparing", live: "talking", behind: "talking" };

/** A browser without a loudspeaker never starts the sound, and does not say so either. */
const START_MS = 5000;

export class Talk {
  #wishes;
  #view;
  #chosen;
  /** What is heard and played on by now; "" is what the system prefers. */
  #inUse = { input: "", output: "" };
  #codecName = "pcm16";
  #context = null;
  #microphone = null;
  #speaker = null;
  #line = null;
  #pauses = new Pauses();
  #timer = null;
  #loop = null;
  #droppedByLines = 0;
  #attempts = 0;
  #isOver = false;
  #isMuted = false;

  /**
   * `wishes`: mode, model, voice, prompt, token (what is undefined is left to the service), and `devices`, ids of input
   * and output.
   *
   * `view` has `state(name, words, details)`, `heard(level, clock)`, `played(levels, clock)`, `report(figures)`,
   * `text(piece)`, `notice(sentence)`, `server(figures)`, `tokenRefused()` and
   * `device(kind, id, words)`: the device in use from now on, and if it is not the chosen one, why.
   */
  constructor({ devices, ...wishes }, view) {
    this.#wishes = wishes;
    this.#view = view;
    this.#chosen = devices;
  }

  /** The audio context's clock, in samples; what levels are dated by. */
  get clock() {
    return this.#context ? this.#context.currentTime * RATE_HZ : 0;
  }

  set isMuted(isMuted) {
    this.#isMuted = isMuted;
    if (this.#microphone) this.#microphone.isMuted = isMuted;
  }

  /** Begin. It must be called while a click or a key press is handled: otherwise browsers let no sound out. */
  async begin() {
    this.#view.state("asking", "Your browser asks whether this page may hear you.");
    try {
      await this.#openSound();
    } catch (error) {
      this.#over(microphoneWords(error));
      this.#closeSound(); // What was opened after the person had gone.
      return;
    }
    if (!this.#isOver) this.#connect();
  }

  /** End, because the person wants it. */
  stop() {
    this.#over("You have ended the conversation.");
  }

  /** Hear another microphone; before there is one, it is the one to begin with. */
  async chooseInput(deviceId) {
    this.#chosen.input = deviceId;
    if (!this.#microphone) return;
    try {
      if (await this.#microphone.use(deviceId)) this.#used("input", deviceId, "");
    } catch (error) {
      this.#used("input", this.#inUse.input, deviceWords("microphone", error));
    }
  }

  /** Play on another loudspeaker; before the sound is started, it is the one to begin with. */
  async chooseOutput(deviceId) {
    this.#chosen.output = deviceId;
    if (!this.#speaker) return;
    try {
      await this.#context.setSinkId?.(deviceId);
      if (deviceId === this.#chosen.output) this.#used("output", deviceId, "");
    } catch (error) {
      if (deviceId === this.#chosen.output) this.#used("output", this.#inUse.output, deviceWords("loudspeaker", error));
    }
  }

  /** `words` say why it is not the one that was chosen. */
  #used(kind, deviceId, words) {
    this.#inUse[kind] = this.#chosen[kind] = deviceId;
    if (!this.#isOver) this.#view.device(kind, deviceId, words);
  }

  async #openSound() {
    this.#context = new AudioContext({ sampleRate: RATE_HZ, latencyHint: "interactive" });
    this.#context.onstatechange = () => this.#resume();
    const running = this.#context.resume();
    this.#codecName = await chooseCodec();
    this.#inUse.input = this.#chosen.input;
    this.#microphone = await Microphone.open(this.#context, this.#inUse.input, {
      onFrame: (frame) => this.#captured(frame),
      onLost: () => this.#over("The microphone has gone away. Connect it, and press the button again."),
    });
    if (this.#isOver) {
      this.#closeSound();
      return;
    }
    this.#view.state("starting", "Starting the sound.");
    this.#microphone.isMuted = this.#isMuted;
    this.#speaker = await Speaker.open(this.#context, (report) => this.#reported(report));
    if (this.#chosen.output) await this.chooseOutput(this.#chosen.output);
    if (this.#chosen.input !== this.#inUse.input) await this.chooseInput(this.#chosen.input);
    await within(START_MS, running);
    if (this.#isOver) this.#closeSound();
  }

  /** A telephone call, or another tab, may take the sound away; it comes back when they let go. */
  #resume() {
    if (!this.#isOver && ["suspended", "interrupted"].includes(this.#context.state)) void this.#context.resume();
  }

  #connect() {
    if (this.#attempts === 0) this.#view.state("connecting", "Connecting.");
    this.#speaker.reset();
    this.#loop = this.#wishes.mode === "loopback" ? new LoopDelay(this.#codecName) : null;
    this.#line = new Line(
      { ...this.#wishes, codec: this.#codecName },
      {
        message: (message) => this.#received(message),
        sound: (sequence, samples) => this.#speaker.play(sequence, samples),
        codecFailed: () => this.#fallBack(),
        ended: (code, said, wasOpen) => this.#lost(code, said, wasOpen),
      },
    );
  }

  #captured({ clock, samples }) {
    this.#view.heard(this.#isMuted ? -100 : levelDbfs(samples), clock);
    if (this.#isMuted) {
      this.#line?.skip();
      return;
    }
    const sequence = this.#line?.speak(samples);
    this.#loop?.captured(sequence, clock);
  }

  #reported(report) {
    const depthMs = (report.depth * 1000) / RATE_HZ;
    for (const [sequence, clock] of report.started) this.#loop?.played(sequence, clock);
    this.#line?.report({ played: report.played, depthMs });
    this.#view.played(report.levels, report.clock);
    this.#view.report({
      depthMs,
      targetMs: (report.target * 1000) / RATE_HZ,
      underruns: report.underruns,
      latePlayedMs: (report.dropped * 1000) / RATE_HZ,
      framesNotSent: this.#droppedByLines + (this.#line?.dropped ?? 0),
      loopMs: this.#loop?.ms ?? null,
      devicesMs: 1000 * (this.#context.baseLatency + (this.#context.outputLatency ?? 0) + this.#microphone.latencySeconds),
      codec: this.#codecName,
    });
  }

  #received(message) {
    switch (message.type) {
      case "ready":
        this.#pauses.succeeded();
        this.#view.state("talking", this.#wishes.mode === "loopback" ? "Speak: you hear yourself." : "Speak: the model listens.");
        break;
      case "state":
        this.#modelState(message.state);
        break;
      case "queue":
        this.#view.state("queue", message.message, { place: message.place });
        break;
      case "text":
        this.#view.text(message.text);
        break;
      case "notice":
        this.#view.notice(message.message);
        break;
      case "stats":
        this.#view.server({ ...message, roundTripMs: performance.now() - message.clock_ms });
        break;
    }
  }

  #modelState(state) {
    const words = {
      connecting: "A model is free; connecting to it.",
      preparing: "The model gets ready: it learns its voice and persona.",
      lost: "The model was lost; calling it again.",
      live: "Speak: the model listens.",
      behind: "The model is too slow at the moment; some of what you say is skipped.",
    }[state];
    if (words) this.#view.state(MODEL_STATES[state], words);
  }

  /** The browser's codec broke down: go on without it. */
  #fallBack() {
    this.#codecName = "pcm16";
    this.#hangUp();
    this.#connect();
  }

  async #lost(code, said, wasOpen) {
    this.#hangUp();
    const reason = closeReason(code, said);
    if (code === 4401) this.#view.tokenRefused();
    if (!reason.isWorthTrying) {
      this.#over(reason.words);
      return;
    }
    const seconds = this.#pauses.next();
    this.#attempts += 1;
    const words = wasOpen ? reason.words : unreachableWords(await healthStatus(), navigator.onLine);
    if (this.#isOver) return;
    this.#view.state("reconnecting", `${words} Trying again in ${Math.ceil(seconds)} s.`);
    this.#timer = setTimeout(() => {
      this.#view.state("reconnecting", `${words} Trying again now.`);
      this.#connect();
    }, 1000 * seconds);
  }

  #hangUp() {
    if (!this.#line) return;
    this.#droppedByLines += this.#line.dropped;
    this.#line.close();
    this.#line = null;
  }

  #over(words) {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#hangUp();
    this.#closeSound();
    this.#view.state("ended", words);
  }

  #closeSound() {
    this.#microphone?.close();
    this.#speaker?.close();
    if (this.#context && this.#context.state !== "closed") void this.#context.close();
  }
}

/** Await a promise for so long at most; raises a TimeoutError after that. */
async function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new DOMException("too late", "TimeoutError")), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Return the HTTP status of /healthz, or null when nobody answers. */
async function healthStatus() {
  try {
    const answer = await fetch(new URL("healthz", document.baseURI), { cache: "no-store", signal: AbortSignal.timeout(3000) });
    return answer.status;
  } catch {
    return null;
  }
}
