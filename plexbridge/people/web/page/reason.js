/** What went wrong, in words for people, and whether another attempt may help. Pure. */

const SECURE = "the browser gives the microphone only to pages with an https:// address, or from this same machine";

const MICROPHONE = {
  NotAllowedError:
    "The microphone was refused. Allow it for this page, in the browser's address bar or settings, and press the button again.",
  NotFoundError: "No microphone was found. Connect one, and press the button again.",
  NotReadableError: "The microphone can't be used: another program may have it. Close that, and press the button again.",
  OverconstrainedError: "The chosen microphone is not there any more. Choose another one, and press the button again.",
  TimeoutError: "The sound could not be started: no loudspeaker was found. Connect one, and press the button again.",
};

/** Return what to say about an error from opening microphone and sound. */
export function microphoneWords(error) {
  return MICROPHONE[error?.name] ?? "The sound could not be started. Press the button to try again.";
}

const DEVICE = {
  NotAllowedError: "this page may not use it",
  NotFoundError: "it is not there any more",
  OverconstrainedError: "it is not there any more",
  NotReadableError: "another program may have it",
};

/** Return what to say when another `kind` of device was chosen in a conversation, and could not be used. */
export function deviceWords(kind, error) {
  const why = DEVICE[error?.name];
  return `The chosen ${kind} can't be used${why ? `: ${why}` : ""}. The one before it stays in use.`;
}

/** Return why this browser can't hold a conversation here, or null when it can. `world` is its global object. */
export function unfitWords(world) {
  if (!world.isSecureContext) return `This page can't hear you: ${SECURE}.`;
  if (!world.navigator.mediaDevices?.getUserMedia || !world.AudioWorkletNode || !world.WebSocket) {
    return "This browser is too old to talk here. A current Firefox, Chrome, Edge or Safari can.";
  }
  return null;
}

/** Close codes of docs/ws-voice.md: what to say, and whether to connect again. */
const CLOSES = {
  1000: ["The conversation has ended.", false],
  1001: ["The service is being restarted.", true],
  1009: ["The service and this page don't understand each other. Reload the page.", false],
  4400: ["The service and this page don't understand each other. Reload the page.", false],
  4401: ["This service asks for a token, and this was not the right one.", false],
  4404: ["The service does not have what was asked for.", false],
  4408: ["The service did not hear from this page in time.", true],
  4410: ["Your place in the queue was given to somebody else.", false],
  4429: ["This page had fallen behind, and sent too much at once.", true],
  4500: ["Something went wrong in the service.", true],
  4502: ["The speech model can't go on.", false],
};

/** Return `{words, isWorthTrying}` for a connection that ended with `code`; `said` is the server's own sentence. */
export function closeReason(code, said) {
  const [words, isWorthTrying] = CLOSES[code] ?? ["The connection was lost.", true];
  return { words: said || words, isWorthTrying };
}

/** The service does not answer to the page's name, or what stands before it lets nobody in. */
const REFUSED_STATUSES = [403, 421];

/**
 * Return what to say when the service can't be reached at all; `status` is that of /healthz, null without an answer.
 *
 * /healthz tells whether the service answers to the page's name. Whether it is full, or refuses the page's origin, it
 * decides at /ws/voice, and browsers keep that answer from pages.
 */
export function unreachableWords(status, isOnline) {
  if (!isOnline) return "This device is offline.";
  if (status === null) return "The service can't be reached.";
  if (REFUSED_STATUSES.includes(status)) {
    return "The service does not accept this address. Its operator has to add it to web.origins.";
  }
  if (status >= 500) return "The service can't be reached: what stands before it gets no answer."; // It never says so itself.
  return "The service is there, but takes nobody in here: it may be full, or its operator has to add this address to web.origins.";
}
