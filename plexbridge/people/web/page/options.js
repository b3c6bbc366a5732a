/** What the service offers (GET /options). */

import { token } from "./keep.js";

/** Return what the service offers; "unauthorized" without the right token, null when nobody answers sensibly. */
export async function fetchOptions() {
  const held = token.get();
  try {
    const answer = await fetch(new URL("options", document.baseURI), {
      headers: held ? { Authorization: `Bearer ${held}` } : {},
      cache: "no-store",
    });
    if (answer.status === 401) return "unauthorized";
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}
