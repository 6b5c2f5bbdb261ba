/** The schedules that the server has, kept for the whole page. */

import { sourceOf } from './graph.mjs';
import { getJson, nodesOf, setWidget, tell } from './host.mjs';
import { Listeners } from './listeners.mjs';
import { describe, readList } from './schedules.mjs';
import { say } from './words.mjs';

const WIDGET = 'schedule_name';
const READERS = ['ARTSigmas', 'ARTLoadSchedule', 'ARTScheduleInfo', 'ARTExportSchedule'];
/** The choice that stands for the schedule of the connected model's family; it is no schedule's name. */
export const AUTO = 'auto';
/** Those for the family's other schedules, each with the text that says what for. */
const MORE = { 'auto-dpmpp_2m': 'autoMultistep', 'auto-clock': 'autoClock' };
let list = [];
let loading = null;
let next = null;
let answered = null;
const whole = new Map();
const listeners = new Listeners();

/** Whether a choice leaves the schedule to the connected model. */
export function isAuto(name) {
  return name === AUTO || Object.hasOwn(MORE, name);
}

/** @returns {import('./schedules.mjs').Summary[]} as last read */
export function schedules() {
  return list;
}

/** Call whenever the list was read again; returns what stops that. */
export function onSchedules(listener) {
  return listeners.add(listener);
}

/** @returns {'loading' | 'failed' | 'ready'} how the first or the last reading of the list went */
export function state() {
  if (answered === null) return 'loading';
  return answered ? 'ready' : 'failed';
}

/** Read the list anew. What is being read may be older than this call: then once more when that is done. */
export function refresh() {
  if (loading) {
    next ??= loading.then(() => {
      next = null;
      return refresh();
    });
    return next;
  }
  loading = getJson('/art/schedules').then((answer) => {
    loading = null;
    answered = answer !== null;
    if (answered) {
      list = readList(answer);
      whole.clear();
      READERS.flatMap(nodesOf).forEach(offerChoices);
    }
    listeners.call();
    return list;
  });
  return loading;
}

/**
 * One schedule with its clock, grids and provenance.
 * @param {string} name
 * @returns {Promise<any>} null if there is none
 */
export function schedule(name) {
  if (!whole.has(name)) {
    const asked = getJson('/art/schedule', { name }).then((answer) => (Array.isArray(answer?.clock) ? answer : null));
    whole.set(name, asked);
    // What could not be had now may be there later.
    asked.then((answer) => answer ?? whole.delete(name));
  }
  return whole.get(name);
}

/** Give the combo of a node that reads schedules the present names, each with what is known of it. */
export function offerChoices(node) {
  const widget = READERS.includes(node.comfyClass) && node.widgets?.find((each) => each.name === WIDGET);
  if (!widget?.options) return;
  // Only the node itself says whether it knows auto.
  const auto = Array.isArray(widget.options.values) ? widget.options.values.filter(isAuto) : [];
  const values = list.length ? [...auto, ...list.map((each) => each.name)] : widget.options.values;
  // A new object: newer front ends go on showing the old one whatever is changed in it.
  widget.options = { ...widget.options, values, getOptionLabel: labelOf };
}

/** A name with family, origin and date, for a menu that may set it as markup: so without angle brackets. */
function labelOf(name) {
  const known = list.find((each) => each.name === name);
  const told = known ? describe(known) : Object.hasOwn(MORE, name) ? say(MORE[name]) : null;
  const label = told ? `${name} — ${told}` : String(name ?? '');
  return label.replaceAll('<', '‹').replaceAll('>', '›').replaceAll('&', '＆');
}

/**
 * Have an ART Sigmas node use a schedule, and say so where a wire decides instead.
 * @returns {boolean} whether the node will use it
 */
export function useSchedule(node, name) {
  offerChoices(node);
  const wire = [WIDGET, 'schedule'].find((input) => sourceOf(node, input));
  const labelled = node.inputs?.find((each) => each.name === wire);
  if (wire) tell('warn', say('wireWins', { input: labelled?.label ?? labelled?.localized_name ?? wire }));
  if (wire !== WIDGET) setWidget(node, WIDGET, name);
  return !wire;
}

/** @returns {string} the schedule that an ART Sigmas node names */
export function chosen(node) {
  return String(node.widgets?.find((each) => each.name === WIDGET)?.value ?? '');
}
