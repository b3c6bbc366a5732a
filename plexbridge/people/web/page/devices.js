/** The choice of microphone and loudspeaker. Names are known only once the page may hear; until then there is one entry. */

const KINDS = { audioinput: "The system's microphone", audiooutput: "The system's loudspeaker" };

/** Whether this browser lets a page choose the loudspeaker. */
export const canChooseOutput = "setSinkId" in (globalThis.AudioContext?.prototype ?? {});

/** Fill both lists with what there is now, and keep what is chosen where it is still there. */
export async function listDevices(input, output) {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  for (const [kind, select] of [["audioinput", input], ["audiooutput", output]]) {
    const named = devices.filter((each) => each.kind === kind && each.label && each.deviceId !== "default");
    const chosen = select.value;
    const entries = named.map((each) => new Option(each.label, each.deviceId));
    select.replaceChildren(new Option(KINDS[kind], ""), ...entries);
    select.value = named.some((each) => each.deviceId === chosen) ? chosen : "";
  }
}
