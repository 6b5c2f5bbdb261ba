/** The side panel: every schedule with its curve and provenance, over each other, as text, and the examples. */

import { overlayChart } from './charts.mjs';
import { clockFor, sigmas } from './clock.mjs';
import { number, sigmasText } from './format.mjs';
import { exampleWorkflows, openExample, tell } from './host.mjs';
import { onSchedules, refresh, schedule, schedules } from './library.mjs';
import { smallCurve } from './picker.mjs';
import { Plot } from './plot.mjs';
import { describe, search } from './schedules.mjs';
import { button, html } from './svg.mjs';
import { putIntoNode } from './trainings.mjs';
import { count, say } from './words.mjs';

/** What a file says of a schedule, and the text that names it. */
const FACTS = {
  title: 'factTitle',
  model: 'factModel',
  model_sampling: 'factModelSampling',
  method: 'factMethod',
  objective: 'factObjective',
  cost: 'factCost',
  cfg: 'factCfg',
  orbits: 'factOrbits',
  nodes: 'factNodes',
  model_calls: 'factModelCalls',
  seed: 'factSeed',
  sigma_max: 'factSigmaMax',
  sigma_min: 'factSigmaMin',
  shift: 'factShift',
  carried_over: 'factCarriedOver',
};
const LONGEST_FACT = 200;
const MOST_STEPS = 1000;
let leave = () => {};

/** @returns {any} what the host's side bar is to show, in the user's language */
export function panelTab() {
  return {
    id: 'art-schedules',
    title: say('panel'),
    tooltip: say('panel'),
    icon: 'pi pi-chart-line',
    render: (container) => {
      leave();
      leave = fillPanel(container);
    },
    destroy: () => leave(),
  };
}

function fillPanel(container) {
  const selected = new Set();
  const plot = new Plot(say('overlayWaits'));
  const field = html('input', { class: 'art-search', type: 'search', placeholder: say('search'),
    'aria-label': say('search') });
  const steps = html('input', { class: 'art-search', type: 'number', min: 1, max: MOST_STEPS, value: 10,
    'aria-label': say('stepsHint') });
  const [rows, facts] = [html('ul', { class: 'art-list' }), html('div')];
  const examples = html('div', { class: 'art-actions' });
  const actions = html('div', { class: 'art-actions' },
    button(say('use'), () => only(selected) !== null && putIntoNode(only(selected))),
    button(say('copy'), () => copySigmas(only(selected), clamped(steps.value))));
  const show = () => showSelected(selected, plot, facts, clamped(steps.value) || 10);
  steps.addEventListener('input', show);
  const fill = () => rows.replaceChildren(...search(schedules(), field.value).map((each) => row(each, selected, show)));
  field.addEventListener('input', fill);
  const panel = html('div', { class: 'art-panel' }, field, rows, examples, plot.element,
    html('label', {}, say('stepsLabel'), steps), actions, facts);
  // The host takes single keys as commands: Delete would delete the selected node.
  panel.addEventListener('keydown', (event) => event.stopPropagation());
  container.replaceChildren(panel);
  const stop = onSchedules(() => {
    const there = new Set(schedules().map((each) => each.name));
    [...selected].filter((name) => !there.has(name)).forEach((name) => selected.delete(name));
    fill();
    show();
  });
  fill();
  show();
  refresh();
  fillExamples(examples);
  return () => {
    stop();
    plot.destroy();
    container.replaceChildren();
  };
}

function row(summary, selected, changed) {
  const made = html('button', { type: 'button', class: 'art-row', 'aria-pressed': String(selected.has(summary.name)) },
    smallCurve(summary.curve), html('span', {}, summary.name, html('small', {}, describe(summary))));
  made.disabled = Boolean(summary.error);
  made.addEventListener('click', () => {
    if (!selected.delete(summary.name)) selected.add(summary.name);
    made.setAttribute('aria-pressed', String(selected.has(summary.name)));
    changed();
  });
  return html('li', {}, made);
}

async function showSelected(selected, plot, facts, steps) {
  const wanted = [...selected];
  const known = (await Promise.all(wanted.map(schedule))).filter(Boolean);
  if (wanted.join('\n') !== [...selected].join('\n')) return;
  // What is sampled at so many steps: where there are grids, never the clock beside them.
  plot.show(overlayChart(known.map((each) => ({ ...each, clock: clockFor(each, steps) }))));
  facts.replaceChildren(...known.map(provenance));
}

function provenance(known) {
  const told = known.provenance ?? {};
  const entries = Object.keys(FACTS).filter((key) => ['string', 'number'].includes(typeof told[key]));
  return html('section', {}, html('strong', {}, known.name), html('dl', { class: 'art-facts' },
    ...entries.flatMap((key) => [html('dt', {}, label(key, told)), html('dd', {}, fact(told[key]))])));
}

function label(key, told) {
  // Where grids were fitted to a sampler, the cost is still that of the clock beside them.
  return say(key === 'cost' && told.grids ? 'factCostOfClock' : FACTS[key]);
}

function fact(value) {
  if (typeof value !== 'number') return value.slice(0, LONGEST_FACT);
  return Number.isInteger(value) ? String(value) : number(value, 6);
}

function only(selected) {
  if (selected.size === 1) return [...selected][0];
  tell('info', say('chooseOne'));
  return null;
}

/** A number of steps that the field offers; a field takes whatever is typed. */
function clamped(text) {
  return Math.min(MOST_STEPS, Number(text));
}

async function copySigmas(name, steps) {
  const known = name === null ? null : await schedule(name);
  if (!known) return;
  try {
    await navigator.clipboard.writeText(sigmasText(sigmas(known, steps)));
    tell('info', say('copied', { steps: count(steps, 'step') }));
  } catch (error) {
    tell('warn', error instanceof RangeError ? error.message : say('copyRefused'));
  }
}

async function fillExamples(examples) {
  const names = await exampleWorkflows();
  examples.replaceChildren(...names.map((name) => button(say('open', { name }), () => openExample(name))));
}
