/**
 * The model's words as they come, and the notices between them.
 *
 * What is seen grows piece by piece. Screen readers would stumble over that, so they are given whole sentences, in a
 * place of their own.
 */

const PAUSE_MS = 1500;
const PARAGRAPHS = 200;
const SENTENCE_END = /[.!?…][\s"”’)]*$/;

export class Words {
  #list;
  #spoken;
  #paragraph = null;
  #sentence = "";
  #timer = null;

  /** `list` is what people see, `spoken` the live region. */
  constructor(list, spoken) {
    this.#list = list;
    this.#spoken = spoken;
  }

  clear() {
    this.#endParagraph();
    this.#list.replaceChildren();
    this.#spoken.textContent = "";
  }

  /** Add a piece, joined to what stands there as it is. */
  add(piece) {
    if (!this.#paragraph) {
      if (piece.trim() === "") return;
      this.#paragraph = this.#append("said");
      piece = piece.trimStart();
    }
    this.#paragraph.textContent += piece;
    this.#sentence += piece;
    if (SENTENCE_END.test(this.#sentence)) this.#speak();
    this.#follow();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#endParagraph(), PAUSE_MS);
  }

  /** Something that people should read. */
  notice(sentence) {
    this.#endParagraph();
    this.#append("notice").textContent = sentence;
    this.#spoken.textContent = sentence;
    this.#follow();
  }

  #append(kind) {
    const paragraph = document.createElement("p");
    paragraph.className = kind;
    this.#list.append(paragraph);
    while (this.#list.childElementCount > PARAGRAPHS) this.#list.firstElementChild.remove();
    return paragraph;
  }

  #endParagraph() {
    clearTimeout(this.#timer);
    this.#speak();
    this.#paragraph = null;
  }

  #speak() {
    if (this.#sentence.trim()) this.#spoken.textContent = this.#sentence.trim();
    this.#sentence = "";
  }

  /** Keep the end in sight, unless somebody reads further up. */
  #follow() {
    const below = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight;
    if (below < 80) this.#list.scrollTop = this.#list.scrollHeight;
  }
}
