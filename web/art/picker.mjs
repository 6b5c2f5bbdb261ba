/** Choosing a schedule: a searchable list of all there are. */

import { refresh, schedules } from './library.mjs';
import { linePath } from './paths.mjs';
import { linearScale, logScale } from './scales.mjs';
import { describe, search } from './schedules.mjs';
import { button, html, svg } from './svg.mjs';
import { say } from './words.mjs';

const WIDTH = 64;
const HEIGHT = 32;

/**
 * Ask for a schedule.
 * @returns {Promise<string | null>} its name; null if nothing was chosen
 */
export function pickSchedule() {
  return new Promise((resolve) => {
    const field = html('input', { class: 'art-search', type: 'search', placeholder: say('searchHint'),
      'aria-label': say('search') });
    const rows = html('ul', { class: 'art-list' });
    const dialog = html('dialog', { class: 'art-dialog', 'aria-label': say('choose') }, field, rows,
      button(say('cancel'), () => dialog.close()));
    let picked = null;
    const pick = (name) => {
      picked = name;
      dialog.close();
    };
    const found = () => search(schedules(), field.value);
    const fill = () => fillRows(rows, found(), pick);
    field.addEventListener('input', fill);
    field.addEventListener('keydown', (event) => {
      const first = found().find((each) => !each.error);
      if (event.key === 'Enter' && first) pick(first.name);
    });
    // The host takes single keys as commands.
    dialog.addEventListener('keydown', (event) => event.stopPropagation());
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(picked);
    });
    document.body.append(dialog);
    dialog.showModal();
    fill();
    refresh().then(() => dialog.open && fill());
  });
}

function fillRows(rows, list, pick) {
  const nothing = html('li', {}, say('nothingFound'));
  rows.replaceChildren(...(list.length ? list.map((each) => html('li', {}, row(each, pick))) : [nothing]));
}

function row(summary, pick) {
  const made = html('button', { type: 'button', class: 'art-row' },
    smallCurve(summary.curve), html('span', {}, summary.name, html('small', {}, describe(summary))));
  made.disabled = Boolean(summary.error);
  made.addEventListener('click', () => pick(summary.name));
  return made;
}

/**
 * A schedule's clock as a small picture, without axes.
 * @param {unknown} curve sigmas at equally spaced times
 * @returns {SVGElement}
 */
export function smallCurve(curve) {
  const values = Array.isArray(curve) ? curve.filter((sigma) => Number.isFinite(sigma) && sigma > 0) : [];
  const picture = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, 'aria-hidden': 'true' });
  if (values.length < 2) return picture;
  const x = linearScale([0, values.length - 1], [2, WIDTH - 2]);
  const y = logScale([Math.min(...values), Math.max(...values)], [HEIGHT - 2, 2]);
  const points = values.map((sigma, i) => [x.at(i), y.at(sigma)]);
  picture.append(svg('path', { class: 'art-line art-art', d: linePath(points) }));
  return picture;
}
