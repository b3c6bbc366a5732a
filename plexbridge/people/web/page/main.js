/** The page: what people choose and press, and what they see of a conversation. The conversation itself is talk.js. */

import { canChooseOutput, listDevices } from "./devices.js";
import { persona, token } from "./keep.js";
import { fetchOptions } from "./options.js";
import { Picture, height } from "./picture.js";
import { Plot } from "./plot.js";
import { unfitWords } from "./reason.js";
import { Talk } from "./talk.js";
import { Words } from "./words.js";

const at = (id) => document.getElementById(id);
const noMotion = matchMedia("(prefers-reduced-motion: reduce)");
const picture = new Picture(at("picture"), () => noMotion.matches);
const plot = new Plot(at("plot"));
const words = new Words(at("words"), at("spoken"));

const PILLS = {
  idle: "Ready",
  asking: "Asking for the microphone",
  starting: "Starting the sound",
  connecting: "Connecting",
  queue: "Waiting in the queue",
  preparing: "The model gets ready",
  talking: "Talking",
  reconnecting: "Reconnecting",
  ended: "Ended",
};
const SILENT_DBFS = -60;
const METER_WORDS_MS = 500;

let talk = null;
const levels = { heard: -100, played: -100 };
const spokenMs = { heard: 0, played: 0 };

/** What a conversation tells the page. */
const view = {
  state(name, sentence, { place } = {}) {
    const wasOver = isOver();
    document.body.dataset.state = name;
    at("pill-words").textContent = PILLS[name];
    said.state = sentence;
    if (isOver()) said.refusals = {};
    showStatus();
    at("place").hidden = place === undefined;
    at("place").textContent = place ?? "";
    at("talk-words").textContent = isOver() ? "Talk again" : name === "talking" ? "End" : "Stop";
    at("wishes").disabled = !isOver();
    if (name === "talking") void listDevices(at("input"), at("output"));
    if (isOver() && !wasOver) ended();
  },

  heard(level, clock) {
    levels.heard = level;
    picture.heard(level, clock);
  },

  played(batch, clock) {
    levels.played = Math.max(...batch, -100);
    picture.played(batch, clock);
  },

  report({ depthMs, targetMs, underruns, latePlayedMs, framesNotSent, loopMs, devicesMs, codec }) {
    figures.depthMs = depthMs;
    at("depth").textContent = `${depthMs.toFixed(0)} of ${targetMs.toFixed(0)} ms`;
    at("counters").textContent =
      `${codec === "opus" ? "Opus" : "16-bit samples"}; ${count(underruns, "gap")}, ${(latePlayedMs / 1000).toFixed(1)} s cut as late, ` +
      `${count(framesNotSent, "packet")} not sent.`;
    at("loop").hidden = loopMs === null;
    if (loopMs === null) return;
    at("loop-ms").textContent = `${loopMs.toFixed(0)} ms`;
    at("loop-devices").textContent = devicesMs ? `, and about ${devicesMs.toFixed(0)} ms in your devices` : "";
  },

  text: (piece) => words.add(piece),
  notice: (sentence) => words.notice(sentence),

  server({ roundTripMs, delay_ms: delay, answer_ms: answer }) {
    at("round-trip").textContent = milliseconds(roundTripMs);
    at("delay").textContent = milliseconds(delay?.total);
    at("answer").textContent = milliseconds(answer?.p50);
    plot.add(roundTripMs, figures.depthMs);
    plot.draw();
  },

  device(kind, id, refusal) {
    at(kind).value = id;
    if (at(kind).selectedIndex < 0) at(kind).value = "";
    said.refusals[kind] = refusal;
    showStatus();
  },

  tokenRefused() {
    token.forget();
    askForToken(true);
  },
};
const figures = { depthMs: 0 };
/** What the status says: the state, and which devices were refused, until others are chosen. */
const said = { state: "", refusals: {} };

function showStatus() {
  const sentences = [said.state, ...Object.values(said.refusals)].filter(Boolean).join(" ");
  if (at("status").textContent !== sentences) at("status").textContent = sentences;
}

function isOver() {
  return ["idle", "ended"].includes(document.body.dataset.state);
}

function count(number, noun) {
  return `${number === 0 ? "no" : number} ${noun}${number === 1 ? "" : "s"}`;
}

function milliseconds(value) {
  if (value === undefined || value === null) return "–";
  return value < 10 ? `${value.toFixed(1)} ms` : `${value.toFixed(0)} ms`;
}

function chosenMode() {
  return document.querySelector("input[name=mode]:checked").value;
}

function begin() {
  const mode = chosenMode();
  const ofModel = mode === "model" ? { model: at("model").value, voice: at("voice").value, prompt: at("prompt").value.trim() } : {};
  // What is empty is left to the service.
  const wishes = Object.fromEntries(Object.entries(ofModel).filter(([, value]) => value));
  words.clear();
  picture.clear();
  plot.clear();
  plot.draw();
  document.body.dataset.mode = mode;
  at("words-part").hidden = mode === "loopback";
  talk = new Talk({ mode, token: token.get(), ...wishes, devices: { input: at("input").value, output: at("output").value } }, view);
  talk.isMuted = isMuted();
  void talk.begin();
  draw(true);
}

function ended() {
  levels.heard = levels.played = -100;
  showMeters();
  at("loop").hidden = true;
}

/** Half of the screen's frames are enough, and leave the processor to the sound. */
function draw(isSecond) {
  if (isOver()) return;
  if (isSecond) {
    picture.draw(talk.clock);
    showMeters();
  }
  requestAnimationFrame(() => draw(!isSecond));
}

/** The bars move with the sound; what screen readers can ask for changes twice a second. */
function showMeters() {
  for (const id of ["heard", "played"]) {
    const meter = at(id);
    const level = id === "heard" && isMuted() ? -100 : levels[id];
    meter.firstElementChild.style.transform = `scaleX(${height(level).toFixed(3)})`;
    if (performance.now() - spokenMs[id] < METER_WORDS_MS) continue;
    spokenMs[id] = performance.now();
    const shown = String(Math.round(Math.max(SILENT_DBFS, Math.min(0, level))));
    meter.setAttribute("aria-valuenow", shown);
    meter.setAttribute("aria-valuetext", level <= SILENT_DBFS ? "silent" : `${shown} decibels`);
  }
  at("halo").style.setProperty("--level", noMotion.matches ? "0" : height(Math.max(levels.heard, levels.played)).toFixed(3));
}

function isMuted() {
  return at("mute").getAttribute("aria-pressed") === "true";
}

function showMode() {
  const isLoopback = chosenMode() === "loopback";
  at("model-wishes").hidden = isLoopback;
  at("loopback-hint").hidden = !isLoopback;
  at("played-name").textContent = at("other-name").textContent = isLoopback ? "Back" : "Model";
}

function askForToken(wasWrong) {
  at("token-form").hidden = false;
  at("token-wrong").hidden = !wasWrong;
  at("talk").disabled = true;
  at("token").focus();
}

async function loadOptions() {
  const options = await fetchOptions();
  if (options === "unauthorized") {
    const wasWrong = token.get() !== undefined;
    token.forget();
    askForToken(wasWrong);
    return;
  }
  at("talk").disabled = false;
  if (!at("token-form").hidden) at("talk").focus();
  at("token-form").hidden = true;
  if (options === null) return; // The button still works, and says why when it does not.
  at("model-part").hidden = options.models.length < 2;
  at("model").replaceChildren(new Option("Whichever is free", ""), ...options.models.map((name) => new Option(name, name)));
  at("voice").replaceChildren(...options.voices.map((name) => new Option(name, name)));
  at("voice").value = options.default_voice;
}

at("talk").addEventListener("click", () => (isOver() ? begin() : talk.stop()));
at("mute").addEventListener("click", () => {
  at("mute").setAttribute("aria-pressed", String(!isMuted()));
  if (talk) talk.isMuted = isMuted();
});
at("input").addEventListener("change", () => isOver() || void talk.chooseInput(at("input").value));
at("output").addEventListener("change", () => isOver() || void talk.chooseOutput(at("output").value));
at("prompt").addEventListener("change", () => persona.set(at("prompt").value));
for (const radio of document.querySelectorAll("input[name=mode]")) radio.addEventListener("change", showMode);
at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(at("token").value);
  at("token").value = "";
  void loadOptions();
});
navigator.mediaDevices?.addEventListener?.("devicechange", () => void listDevices(at("input"), at("output")));
// Closing the page, or leaving it for another, ends the conversation at once.
addEventListener("pagehide", () => isOver() || talk.stop());

at("prompt").value = persona.get() ?? "";
at("output-part").hidden = !canChooseOutput;
showMode();
const unfit = unfitWords(globalThis);
if (unfit) {
  view.state("ended", unfit);
  at("talk").disabled = true;
} else {
  void listDevices(at("input"), at("output"));
  void loadOptions();
}
