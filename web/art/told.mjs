/** What a node says in words when it has run: a box with its text, which may be read, scrolled and copied. */

import { keepKeys } from './keys.mjs';
import { html } from './svg.mjs';

/** One box on the page. `element` goes into a widget or a plot. */
export class Told {
  /** @param {string} before shown until the node has run */
  constructor(before) {
    this.before = before;
    this.element = html('div', { class: 'art-told', tabindex: 0, role: 'note' }, before);
    keepKeys(this.element);
    // The host takes copying for that of nodes, and the mouse to drag the node.
    for (const type of ['copy', 'pointerdown']) {
      this.element.addEventListener(type, (event) => { if (!event.button) event.stopPropagation(); });
    }
    // Where there is more to read than fits the wheel scrolls; elsewhere it is the canvas's.
    this.element.addEventListener('wheel', (event) => {
      const { scrollHeight, clientHeight } = this.element;
      if (scrollHeight > clientHeight && !event.ctrlKey) event.stopImmediatePropagation();
    });
  }

  /** @param {unknown} text */
  show(text) {
    this.element.textContent = typeof text === 'string' && text ? text : this.before;
  }

  /** A plot draws and listens; words do not. */
  resume() {}

  destroy() {}
}
