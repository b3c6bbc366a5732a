/** What the service offers (GET /options), and the token that it may ask for. */

const TOKEN_KEY = "plexbridge.token";

/** The token lasts as long as the tab, and never stands in an address. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN_KEY) ?? undefined,
  set: (value) => sessionStorage.setItem(TOKEN_KEY, value),
  forget: () => sessionStorage.removeItem(TOKEN_KEY),
};

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
