/** A message with a button. The host's own toasts have none in older front ends. */

import { button, html } from './svg.mjs';
import { say } from './words.mjs';

const SHOWN_SECONDS = 30;

/**
 * Show a message until it is answered, closed or old.
 * @param {string} text
 * @param {string} label of the button
 * @param {() => boolean} action returns whether the message is done with
 */
export function offer(text, label, action) {
  document.querySelectorAll('.art-toast').forEach((each) => each.remove());
  const close = () => {
    clearTimeout(timer);
    toast.remove();
  };
  const accept = button(label, () => action() && close());
  const parts = [html('span', {}, text), accept, button(say('close'), close)];
  const toast = html('div', { class: 'art-toast', role: 'status' }, ...parts);
  const timer = setTimeout(close, 1000 * SHOWN_SECONDS);
  document.body.append(toast);
}
