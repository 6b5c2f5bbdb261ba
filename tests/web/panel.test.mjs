/** The list of schedules in picker and side panel, and messages with a button. */

import assert from 'node:assert/strict';
import test, { beforeEach, mock } from 'node:test';

import { app, body, create, FakeGraph, host, reconnect, settle } from './fake_page.mjs';

const HOSTILE = '<img src=x onerror=alert(1)>';
const clock = Array.from({ length: 17 }, (_, i) => 80 * (1 - i / 16) ** 3);
const summaries = [{ name: 'demo-edm', origin: 'bundled', sigma_max: 80 },
  { name: 'mine', origin: 'trained', date: '2026-11-23', sigma_max: 80 },
  { name: HOSTILE, origin: 'trained', curve: clock }];
await import('../../web/art.js');
const { offer } = await import('../../web/art/toast.mjs');
const { setup, commands } = host.extension;
const answers = { '/art/schedules': { schedules: summaries }, '/art/live': { runs: [] },
  '/art/schedule': { name: 'mine', clock, grids: {}, provenance: { model: HOSTILE, seed: 3 } },
  '/art/ladders': { ladders: {} } };
host.answers = structuredClone(answers);
setup();
await settle();

beforeEach(() => {
  app.graph = new FakeGraph();
  app.canvas.selected_nodes = {};
  document.activeElement = body;
  Object.assign(host, { events: [], told: [], asked: [], answers: structuredClone(answers) });
});

const value = (node, name) => node.widgets.find((widget) => widget.name === name).value;
const rowsOf = (container) => container.all('ul')[0].all('button');
const noteOf = (container) => container.all('div').find((each) => each.attributes.class === 'art-note').textContent;
const click = (element) => element.dispatchEvent(new Event('click'));
const type = (field, text) => {
  field.value = text;
  field.dispatchEvent(new Event('input'));
};
/** Press a key; returns whether the host hears of it and whether the browser is left to do what it does. */
function press(element, key, more = {}) {
  const event = Object.assign(new Event('keydown', { cancelable: true }), { key, ...more });
  let heard = true;
  event.stopPropagation = () => { heard = false; };
  element.dispatchEvent(event);
  return [heard, !event.defaultPrevented];
}

/** The side panel in a page; what is chosen there is let go again. */
async function openPanel() {
  const container = document.createElement('div');
  body.append(container);
  host.tab.render(container);
  await settle();
  return container;
}

async function closePanel(container) {
  rowsOf(container).filter((row) => row.attributes['aria-pressed'] === 'true').forEach(click);
  const [search, steps] = container.all('input');
  type(search, '');
  type(steps, '10');
  await settle();
  host.tab.destroy();
  container.remove();
}

test('the picker finds and sets a schedule', async () => {
  const sigmas = create('ARTSigmas', { schedule_name: 'demo-edm', steps: 4, denoise: 1 });
  app.canvas.selected_nodes = { 1: sigmas };
  const picked = commands[0].function();
  const [dialog] = body.all('dialog');
  const field = dialog.all('input')[0];
  field.value = 'img trained';
  field.dispatchEvent(new Event('input'));
  const rows = dialog.all('ul')[0].all('button');
  assert.equal(rows.length, 1);
  assert.equal(dialog.all('img').length, 0);
  rows[0].dispatchEvent(new Event('click'));
  await picked;
  assert.equal(value(sigmas, 'schedule_name'), HOSTILE);
  assert.equal(body.all('dialog').length, 0);
});

test('the picker takes the first hit on Enter, and nothing where there is none or nothing is typed', async () => {
  const sigmas = create('ARTSigmas', { schedule_name: 'demo-edm', steps: 4, denoise: 1 });
  app.canvas.selected_nodes = { 1: sigmas };
  const picked = commands[0].function();
  const [field] = body.all('dialog')[0].all('input');
  for (const [text, key, more] of [['no such schedule', 'Enter'], ['mine', 'a'], ['  ', 'Enter'],
    ['mine', 'Enter', { isComposing: true }], ['mine', 'Enter', { keyCode: 229 }]]) {
    type(field, text);
    press(field, key, more);
    assert.equal(body.all('dialog').length, 1, `${text} ${key}`);
  }
  press(field, 'Enter');
  await picked;
  assert.equal(value(sigmas, 'schedule_name'), 'mine');
});

test('the keys go from the field into the list, through it, and stay where they were', async () => {
  const picked = commands[0].function();
  const [dialog] = body.all('dialog');
  const [field, rows] = [dialog.all('input')[0], rowsOf(dialog)];
  const stops = () => rows.map((row) => Number(row.attributes.tabindex));
  const at = () => rows.indexOf(document.activeElement);
  const go = (key, more) => press(dialog.all('ul')[0], key, more);
  assert.deepEqual(stops(), [0, -1, -1], 'one stop of the tab key, however many rows there are');
  assert.deepEqual(press(field, 'ArrowDown')[1], false);
  const path = ['ArrowDown', 'ArrowDown', 'ArrowDown', 'ArrowUp', 'Home', 'End'].map((key) => {
    go(key);
    return at();
  });
  assert.deepEqual(path, [1, 2, 2, 1, 0, 2]);
  assert.deepEqual(stops(), [-1, -1, 0]);
  assert.deepEqual([go('ArrowUp', { altKey: true })[1], go('a')[1], at()], [true, true, 2]);
  field.focus();
  press(field, 'ArrowDown');
  assert.equal(at(), 2);
  dialog.close();
  assert.equal(await picked, undefined);
});

test('rows that are the same stay, with the focus, when the list is read anew', async () => {
  const container = await openPanel();
  const [first, ...others] = rowsOf(container);
  press(container.all('input')[0], 'ArrowDown');
  assert.equal(document.activeElement, first);
  others[0].focus();
  reconnect();
  await settle();
  assert.deepEqual(rowsOf(container).map((row, i) => row === [first, ...others][i]), [true, true, true]);
  host.answers['/art/schedules'].schedules = [{ name: 'new', origin: 'trained' },
    ...summaries.map((each) => (each.name === HOSTILE ? { ...each, date: '2026-11-30' } : each))];
  reconnect();
  await settle();
  const rows = rowsOf(container);
  assert.equal(rows.length, 4);
  const changed = rows.findIndex((row) => row.textContent.startsWith(HOSTILE));
  assert.equal(document.activeElement, rows[changed], 'what had the focus is another element now');
  assert.ok(rows.includes(first) && !rows.includes(others[0]));
  await closePanel(container);
});

test('of very many schedules the first are shown, and how many there are', async () => {
  host.answers['/art/schedules'].schedules = Array.from({ length: 1000 }, (_, i) => ({ name: `number ${i}` }));
  const container = await openPanel();
  reconnect();
  await settle();
  assert.deepEqual([rowsOf(container).length, noteOf(container)], [100, '1000 schedules; the first 100 are shown']);
  type(container.all('input')[0], 'number 77');
  assert.deepEqual([rowsOf(container).length, noteOf(container)], [19, '19 schedules']);
  await closePanel(container);
});

test('why there is nothing to choose', async () => {
  const container = await openPanel();
  const field = container.all('input')[0];
  assert.equal(noteOf(container), '3 schedules');
  type(field, 'no such');
  assert.match(noteOf(container), /No schedule is found/);
  type(field, '');
  delete host.answers['/art/schedules'];
  reconnect();
  await settle();
  assert.match(noteOf(container), /server does not answer/);
  assert.equal(rowsOf(container).length, 3, 'those known before');
  host.answers['/art/schedules'] = answers['/art/schedules'];
  reconnect();
  await settle();
  assert.equal(noteOf(container), '3 schedules');
  await closePanel(container);
});

test('a list that is asked for while one is being read is read after it', async () => {
  const lists = () => host.asked.filter((path) => path === '/art/schedules').length;
  const { refresh, schedules } = await import('../../web/art/library.mjs');
  const first = refresh();
  host.answers['/art/schedules'].schedules = [{ name: 'late' }];
  const [second, third] = [refresh(), refresh()];
  await Promise.all([first, second, third]);
  assert.deepEqual([lists(), schedules().map((each) => each.name)], [2, ['late']]);
});

test('the side panel draws what is sampled at so many steps, and forgets what is gone', async () => {
  const [one, two, ...rest] = summaries;
  host.answers['/art/schedule'].grids = { 4: [80, 40, 20, 10, 0], 10: [80, 20, 9, 7, 6, 5, 4, 3, 2, 1, 0] };
  const container = await openPanel();
  const lines = () => container.all('path').filter((each) => each.parent.tag === 'g').map((each) => each.attributes.d);
  click(rowsOf(container).find((each) => each.textContent.startsWith(two.name)));
  await settle();
  const atTen = lines();
  const steps = container.all('input').find((each) => each.attributes.type === 'number');
  type(steps, '4');
  await settle();
  assert.equal(lines().length, 1);
  assert.notDeepEqual(lines(), atTen);
  type(steps, '');
  await settle();
  assert.deepEqual(lines(), atTen);
  host.answers['/art/schedules'] = { schedules: [one, ...rest] };
  reconnect();
  await settle();
  assert.deepEqual([lines(), container.all('dl')], [[], []], `${two.name} was deleted`);
  await closePanel(container);
});

test('the side panel lists, overlays and leaves', async () => {
  const container = await openPanel();
  const rows = rowsOf(container);
  assert.equal(rows.length, 3);
  rows.slice(0, 2).forEach(click);
  await settle();
  assert.equal(rows[0].attributes['aria-pressed'], 'true');
  assert.equal(container.all('path').filter((each) => each.parent.tag === 'g').length, 2);
  assert.ok(container.textContent.includes(HOSTILE));
  assert.equal(container.all('img').length, 0);
  const panel = container.children[0];
  for (const [key, more, heard] of [['Delete', {}, false], ['c', { ctrlKey: true }, false], ['r', {}, false],
    ['Enter', { ctrlKey: true }, true], ['s', { metaKey: true }, true]]) {
    assert.equal(press(panel, key, more)[0], heard, `${key}: or the host would change the selected node`);
  }
  host.tab.destroy();
  assert.equal(container.children.length, 0);
  const again = await openPanel();
  assert.equal(rowsOf(again).filter((row) => row.attributes['aria-pressed'] === 'true').length, 2, 'chosen before');
  await closePanel(again);
});

test('what is chosen is listed, whatever is searched for', async () => {
  const container = await openPanel();
  click(rowsOf(container).find((row) => row.textContent.startsWith('mine')));
  type(container.all('input')[0], 'demo');
  assert.deepEqual(rowsOf(container).map((row) => row.textContent.slice(0, 4)), ['mine', 'demo']);
  await closePanel(container);
});

test('a panel whose place another one took draws no more', async () => {
  const container = await openPanel();
  const asked = () => host.asked.filter((path) => path === '/art/schedule?name=demo-edm').length;
  click(rowsOf(container).find((row) => row.textContent.startsWith('demo')));
  reconnect();
  await settle();
  assert.equal(asked(), 2);
  container.remove();
  for (let i = 0; i < 2; i += 1) {
    reconnect();
    await settle();
  }
  assert.equal(asked(), 2);
  await closePanel(await openPanel());
});

test('the sigmas go into the clipboard, also where browsers have none for us', async () => {
  const [container, written] = [await openPanel(), []];
  click(rowsOf(container)[0]);
  const copy = () => click(container.all('button').find((each) => each.textContent === 'Copy sigmas'));
  const { navigator } = globalThis;
  const use = (clipboard) => Object.defineProperty(globalThis, 'navigator', { value: { clipboard }, configurable: true });
  use({ writeText: async (text) => written.push(text) });
  copy();
  await settle(50);
  use(undefined);
  document.execCommand = () => Boolean(written.push(body.all('textarea')[0].value));
  copy();
  await settle(50);
  document.execCommand = () => false;
  copy();
  await settle(50);
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
  assert.equal(written.length, 2);
  assert.deepEqual([written[0].split(', ').length, written[1]], [11, written[0]]);
  assert.deepEqual(host.told.map((each) => each.severity), ['info', 'info', 'warn']);
  assert.equal(body.all('textarea').length, 0);
  await closePanel(container);
});

test('messages stay while they are looked at, close on Escape, and do not push each other away', () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const shown = () => body.all('div').filter((each) => each.attributes.class === 'art-toast');
  const send = (element, ...types) => types.forEach((name) => element.dispatchEvent(new Event(name)));
  assert.equal(body.all('div').filter((each) => each.attributes.role === 'status' && each.attributes.class === 'art-toasts')
    .length, 1, 'screen readers tell what comes into a place that is there');
  let used = 0;
  ['a', 'b', 'c', 'd'].forEach((text) => offer(text, 'use', () => (used += 1) > 1));
  assert.deepEqual(shown().map((each) => each.textContent[0]), ['b', 'c', 'd']);
  const [second, third, fourth] = shown();
  send(third, 'pointerenter');
  press(second, 'Escape');
  mock.timers.tick(29_000);
  click(fourth.all('button')[0]);
  assert.equal(shown().length, 2, 'its button could not do what it says');
  mock.timers.tick(2_000);
  assert.deepEqual(shown(), [third]);
  send(third, 'pointerleave', 'focusin');
  mock.timers.tick(60_000);
  assert.deepEqual(shown(), [third]);
  send(third, 'focusout');
  mock.timers.tick(31_000);
  assert.deepEqual(shown(), []);
  offer('e', 'use', () => true);
  click(shown()[0].all('button')[0]);
  assert.deepEqual(shown(), []);
  mock.timers.reset();
});
