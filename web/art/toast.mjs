/** Messages with a button. The host's own toasts have none in older front ends. */

import { keepKeys } from './keys.mjs';
import { button, html } from './svg.mjs';
import { say } from './words.mjs';

const SHOWN_SECONDS = 30;
const MOST = 3;
let place = null;

/** Make the place where messages come; screen readers tell what comes into one that was there before. */
export function makePlace() {
  if (place?.isConnected) return;
  place = html('div', { class: 'art-toasts', role: 'status' });
  document.body.append(place);
}

/**
 * Show a message until it is answered, closed or old; it does not grow old below the mouse or while it has the focus.
 * @param {string} text
 * @param {string} label of the button
 * @param {() => boolean} action returns whether the message is done with
 */
export function offer(text, label, action) {
  makePlace();
  let timer = 0;
  const hold = () => clearTimeout(timer);
  const close = () => {
    hold();
    toast.remove();
  };
  const age = () => {
    hold();
    timer = setTimeout(close, 1000 * SHOWN_SECONDS);
  };
  const accept = button(label, () => action() && close());
  const toast = html('div', { class: 'art-toast' }, html('span', {}, text), accept, button(say('close'), close));
  ['pointerenter', 'focusin'].forEach((type) => toast.addEventListener(type, hold));
  ['pointerleave', 'focusout'].forEach((type) => toast.addEventListener(type, age));
  toast.addEventListener('keydown', (event) => event.key === 'Escape' && close());
  keepKeys(toast);
  place.append(toast);
  [...place.children].slice(0, -MOST).forEach((old) => old.remove());
  age();
}
