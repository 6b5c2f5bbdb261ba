/** Choosing a schedule: a searchable list of all there are. */

import { onSchedules, refresh, schedules } from './library.mjs';
import { ScheduleList } from './list.mjs';
import { search } from './schedules.mjs';
import { button, html } from './svg.mjs';
import { say } from './words.mjs';

/** What browsers give as the code of every key with which a letter is being put together from others. */
const COMPOSING = 229;

/**
 * Ask for a schedule.
 * @returns {Promise<string | null>} its name; null if nothing was chosen
 */
export function pickSchedule() {
  return new Promise((resolve) => {
    let picked = null;
    const pick = (name) => {
      picked = name;
      dialog.close();
    };
    const field = html('input', { class: 'art-search', type: 'search', placeholder: say('searchHint'),
      'aria-label': say('search') });
    const list = new ScheduleList(pick);
    const dialog = html('dialog', { class: 'art-dialog', 'aria-label': say('choose') }, field, list.element,
      button(say('cancel'), () => dialog.close()));
    const found = () => search(schedules(), field.value);
    const fill = () => list.show(found());
    list.follow(field);
    field.addEventListener('input', fill);
    field.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.isComposing || event.keyCode === COMPOSING || !field.value.trim()) return;
      const first = found().find((each) => !each.error);
      if (first) pick(first.name);
    });
    // The host takes single keys as commands.
    dialog.addEventListener('keydown', (event) => event.stopPropagation());
    const stop = onSchedules(fill);
    dialog.addEventListener('close', () => {
      stop();
      dialog.remove();
      resolve(picked);
    });
    document.body.append(dialog);
    dialog.showModal();
    refresh();
    fill();
  });
}
