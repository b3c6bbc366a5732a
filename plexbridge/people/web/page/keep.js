/**
 * What the browser keeps for the page: the token as long as the tab, the persona for longer.
 *
 * A browser that is told to keep nothing raises an error at every use of its storage; then the page keeps it itself,
 * for as long as it is open.
 */

class Kept {
  #area;
  #key;
  #here;

  /** `area` is "sessionStorage" or "localStorage". */
  constructor(area, key) {
    this.#area = area;
    this.#key = key;
  }

  /** Undefined when there is nothing. */
  get() {
    return this.#try((storage) => storage.getItem(this.#key)) ?? this.#here;
  }

  set(value) {
    this.#here = value;
    this.#try((storage) => storage.setItem(this.#key, value));
  }

  forget() {
    this.#here = undefined;
    this.#try((storage) => storage.removeItem(this.#key));
  }

  #try(use) {
    try {
      return use(globalThis[this.#area]);
    } catch {
      return undefined;
    }
  }
}

/** It never stands in an address. */
export const token = new Kept("sessionStorage", "plexbridge.token");
export const persona = new Kept("localStorage", "plexbridge.persona");
