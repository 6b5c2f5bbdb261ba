/** The list of schedules that the picker and the side panel show. */

import { state } from './library.mjs';
import { linePath } from './paths.mjs';
import { linearScale, logScale } from './scales.mjs';
import { describe } from './schedules.mjs';
import { html, svg } from './svg.mjs';
import { count, say } from './words.mjs';

const WIDTH = 64;
const HEIGHT = 32;
/** Rows; of more a search finds the others. */
const MOST = 100;
const MOVES = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };

/** A list of its own; `element` goes into a dialog or a panel. */
export class ScheduleList {
  /**
   * @param {(name: string) => void} act on the schedule that is clicked
   * @param {((name: string) => boolean) | null} isPressed where a click presses a row and the next one releases it
   */
  constructor(act, isPressed = null) {
    Object.assign(this, { act, isPressed, known: new Map(), shown: [], stop: '' });
    this.rows = html('ul', { class: 'art-list' });
    this.note = html('div', { class: 'art-note', role: 'status' });
    this.element = html('div', { class: 'art-found' }, this.rows, this.note);
    this.rows.addEventListener('keydown', (event) => this.move(event));
  }

  /**
   * Show these. A row whose schedule is the same stays the same element: a click on it may be half done.
   * @param {import('./schedules.mjs').Summary[]} found
   */
  show(found) {
    const focused = this.shown.find(({ button }) => button === document.activeElement);
    const shown = found.slice(0, MOST).map((summary) => this.row(summary));
    if (shown.length !== this.shown.length || shown.some((row, i) => row !== this.shown[i])) {
      this.rows.replaceChildren(...shown.map(({ item }) => item));
      this.shown = shown;
      this.known = new Map(shown.map((row) => [row.name, row]));
    }
    this.press();
    this.stopAt(this.stop);
    const again = focused && this.open().find(({ name }) => name === focused.name);
    if (again && again.button !== document.activeElement) again.button.focus();
    const told = this.tell(found.length);
    if (this.note.textContent !== told) this.note.textContent = told;
  }

  /** Show anew which rows are pressed. */
  press() {
    if (!this.isPressed) return;
    this.shown.forEach(({ name, button }) => button.setAttribute('aria-pressed', String(this.isPressed(name))));
  }

  /** Have the arrow key lead from a field into the list. */
  follow(field) {
    field.addEventListener('keydown', (event) => {
      if (event.key !== 'ArrowDown') return;
      event.preventDefault();
      this.enter();
    });
  }

  /** Go to the row where the keys left off. */
  enter() {
    this.stopAt(this.stop)?.button.focus();
  }

  /** Have the tab key stop at one row only, the first if there is none of that name; the arrow keys go on from there. */
  stopAt(name) {
    const rows = this.open();
    const stop = rows.find((row) => row.name === name) ?? rows[0];
    rows.forEach(({ button }) => button.setAttribute('tabindex', button === stop.button ? 0 : -1));
    return stop;
  }

  /** The rows that can be chosen. */
  open() {
    return this.shown.filter(({ button }) => !button.disabled);
  }

  row(summary) {
    const [text, before] = [JSON.stringify(summary), this.known.get(summary.name)];
    if (before?.text === text) return before;
    const button = html('button', { type: 'button', class: 'art-row' },
      smallCurve(summary.curve), html('span', {}, summary.name, html('small', {}, describe(summary))));
    button.disabled = Boolean(summary.error);
    button.addEventListener('click', () => this.go(summary.name));
    return { name: summary.name, text, button, item: html('li', {}, button) };
  }

  go(name) {
    this.stop = name;
    this.stopAt(name);
    this.act(name);
  }

  move(event) {
    const [rows, step] = [this.open(), MOVES[event.key]];
    const at = rows.findIndex(({ button }) => button === document.activeElement);
    if (step === undefined || at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.stop = rows[Math.min(Math.max(at + step, 0), rows.length - 1)].name;
    this.enter();
  }

  /** How many there are, or why there are none. */
  tell(found) {
    if (state() === 'failed') return say('listFailed');
    if (!found) return say(state() === 'loading' ? 'listLoading' : 'nothingFound');
    const schedules = count(found, 'schedule');
    return found > MOST ? say('listFirst', { schedules, n: MOST }) : schedules;
  }
}

/** A schedule's clock as a small picture, without axes; `curve`: sigmas at equally spaced times. */
function smallCurve(curve) {
  const values = Array.isArray(curve) ? curve.filter((sigma) => Number.isFinite(sigma) && sigma > 0) : [];
  const picture = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, 'aria-hidden': 'true' });
  if (values.length < 2) return picture;
  const x = linearScale([0, values.length - 1], [2, WIDTH - 2]);
  const y = logScale([Math.min(...values), Math.max(...values)], [HEIGHT - 2, 2]);
  const points = values.map((sigma, i) => [x.at(i), y.at(sigma)]);
  picture.append(svg('path', { class: 'art-line art-art', d: linePath(points) }));
  return picture;
}
