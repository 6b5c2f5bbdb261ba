/** The side panel: every schedule with its curve and provenance, over each other, as text, and the examples. */

import { overlayChart } from './charts.mjs';
import { clockFor, sigmas } from './clock.mjs';
import { number, sigmasText } from './format.mjs';
import { copyText, exampleWorkflows, openExample, tell } from './host.mjs';
import { keepKeys } from './keys.mjs';
import { onSchedules, refresh, schedule, schedules } from './library.mjs';
import { ScheduleList } from './list.mjs';
import { Plot } from './plot.mjs';
import { search } from './schedules.mjs';
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
const USUAL_STEPS = 10;
/** What was chosen and typed, for when the host shows the panel again after another one. */
const kept = { selected: new Set(), search: '', steps: String(USUAL_STEPS) };
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
  const { selected } = kept;
  const plot = new Plot(say('overlayWaits'));
  const field = html('input', { class: 'art-search', type: 'search', placeholder: say('search'),
    'aria-label': say('search') });
  const steps = html('input', { class: 'art-search', type: 'number', min: 1, max: MOST_STEPS,
    'aria-label': say('stepsHint') });
  Object.assign(field, { value: kept.search });
  Object.assign(steps, { value: kept.steps });
  const facts = html('div');
  let turn = 0;
  const show = async () => {
    turn += 1;
    const mine = turn;
    const known = (await Promise.all([...selected].map(schedule))).filter(Boolean);
    // An answer that was overtaken by a later change is not shown.
    if (mine === turn) showSchedules(known, plot, facts, stepsOf(steps.value));
  };
  const list = new ScheduleList((name) => {
    if (!selected.delete(name)) selected.add(name);
    list.press();
    show();
  }, (name) => selected.has(name));
  const fill = () => list.show(found(field.value, selected));
  list.follow(field);
  field.addEventListener('input', () => {
    kept.search = field.value;
    fill();
  });
  steps.addEventListener('input', () => {
    kept.steps = steps.value;
    show();
  });
  const examples = html('div', { class: 'art-actions' });
  const panel = html('div', { class: 'art-panel' }, field, list.element, actions(selected, steps),
    html('details', {}, html('summary', {}, say('examples')), examples), plot.element, facts);
  keepKeys(panel);
  container.replaceChildren(panel);
  const end = () => {
    stop();
    plot.destroy();
    panel.remove();
  };
  const stop = onSchedules(() => {
    // The host does not say that a panel of its own has taken the place.
    if (!panel.isConnected) return end();
    const there = new Set(schedules().map((each) => each.name));
    [...selected].filter((name) => !there.has(name)).forEach((name) => selected.delete(name));
    fill();
    return show();
  });
  fill();
  show();
  refresh();
  fillExamples(examples);
  return end;
}

/** The schedules that a search finds, and those that are chosen: nobody should use what is not to be seen. */
function found(text, selected) {
  const hits = new Set(search(schedules(), text));
  return search(schedules(), '').filter((each) => hits.has(each) || selected.has(each.name));
}

function actions(selected, steps) {
  const only = () => {
    if (selected.size === 1) return [...selected][0];
    tell('info', say('chooseOne'));
    return null;
  };
  return html('div', { class: 'art-actions' }, html('label', {}, say('stepsLabel'), steps),
    button(say('use'), () => {
      const name = only();
      if (name !== null) putIntoNode(name);
    }),
    button(say('copy'), () => copySigmas(only(), stepsOf(steps.value))));
}

function showSchedules(known, plot, facts, steps) {
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

/** A number of steps that the field offers; a field takes whatever is typed. */
function stepsOf(text) {
  const steps = Math.trunc(Number(text));
  return steps >= 1 ? Math.min(MOST_STEPS, steps) : USUAL_STEPS;
}

async function copySigmas(name, steps) {
  const known = name === null ? null : await schedule(name);
  if (!known) return;
  const copied = await copyText(sigmasText(sigmas(known, steps)));
  tell(copied ? 'info' : 'warn', copied ? say('copied', { steps: count(steps, 'step') }) : say('copyRefused'));
}

async function fillExamples(examples) {
  const names = await exampleWorkflows();
  examples.replaceChildren(...names.map((name) => button(say('open', { name }), () => openExample(name))));
}
