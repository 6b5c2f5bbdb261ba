/** Who wants to know of a change. Pure, no page. */

/** Listeners that do not stand in each other's way. */
export class Listeners {
  #all = new Set();

  /**
   * @param {() => void} listener
   * @returns {() => void} what stops it
   */
  add(listener) {
    this.#all.add(listener);
    return () => { this.#all.delete(listener); };
  }

  /** Call every listener. One that throws costs the others nothing; what was thrown is reported in one message. */
  call() {
    const thrown = [];
    for (const listener of this.#all) {
      try {
        listener();
      } catch (error) {
        thrown.push(error);
      }
    }
    if (thrown.length) console.error('ComfyUI-ART: a change could not be shown everywhere.', ...thrown);
  }
}
