import assert from 'node:assert/strict';
import test from 'node:test';

import { compareChart, emptyChart, ladderChart, overlayChart, trainingChart } from '../../web/art/charts.mjs';
import { readMessage } from '../../web/art/live.mjs';
import { describe, readList, search } from '../../web/art/schedules.mjs';

const HOSTILE = '<img src=x onerror=alert(1)>';
const clock = Array.from({ length: 33 }, (_, i) => 80 * (1 - i / 32) ** 3);
const finite = (panel) => panel.series.every(({ line = [], dots = [] }) => (
  [...line, ...dots].flat().every(Number.isFinite)));

test('the ladder has a dot for each step, and says so', () => {
  const ladders = { karras: [80, 9, 0] };
  const chart = ladderChart({ name: 'mine', schedule: { clock }, steps: 6, denoise: 1, ladders });
  const [panel] = chart.panels;
  assert.deepEqual(panel.series.map((each) => [each.name, each.tone, each.dots.length]),
    [['karras', 'other1', 2], ['mine', 'art', 6]]);
  assert.equal(panel.hover.length, 7);
  assert.match(panel.hover[1].text, /^step 1 of 6: sigma 46.3, 17 % of the clock$/);
  assert.match(chart.alt, /mine: 6 steps from 80 to .*, then 0, against karras/);
  assert.ok(finite(panel) && panel.y.domain[0] > 0);
});

test('denoise starts later, and its line runs through its dots', () => {
  const chart = ladderChart({ name: 'm', schedule: { clock }, steps: 3, denoise: 0.5 });
  const [series] = chart.panels[0].series;
  assert.equal(series.dots.length, 3);
  assert.ok(series.dots[0][1] < 80);
  assert.ok(Math.abs(series.line[0][0]) < 1e-9 && Math.abs(series.line.at(-1)[0] - 2) < 1e-9);
  assert.ok(Math.abs(series.line.at(-1)[1] / series.dots[2][1] - 1) < 1e-6);
  assert.equal(ladderChart({ name: 'm', schedule: { clock }, steps: 3, denoise: 0 }).panels.length, 0);
});

test('one step, and ladders that are none', () => {
  const ladders = { bad: [NaN, 0], none: null, short: [1] };
  const chart = ladderChart({ name: 'm', schedule: { clock }, steps: 1, denoise: 1, ladders });
  assert.equal(chart.panels[0].series.length, 1);
  assert.ok(finite(chart.panels[0]));
});

test('a training from its first call to its end', () => {
  const base = { node: 1, run: 1, number: 1, calls: 12, seconds: 3, done: 3, total: 10, left: 7 };
  const recording = trainingChart(readMessage({ ...base, phase: 'recording' }));
  assert.equal(recording.panels.length, 0);
  assert.match(recording.status, /recording, model call 3 of 10 · 12 model calls · 3.0 s · about 7.0 s left/);
  const costs = [[1, 1.5], [3, 1.1]];
  const learning = { ...base, phase: 'learning', start: [80, 40, 0], clock, costs, iterations: 10 };
  const chart = trainingChart(readMessage(learning));
  assert.deepEqual(chart.panels.map((panel) => panel.series.map((each) => each.tone)), [['start', 'art'], ['art']]);
  assert.ok(chart.panels.every(finite));
  assert.deepEqual(chart.panels[1].x.domain, [0, 10]);
  const over = trainingChart(readMessage({ ...learning, phase: 'finished', name: HOSTILE }));
  assert.match(over.status, /saved as <img src=x onerror=alert\(1\)> · cost 1.1 of the optimum/);
  const marked = trainingChart(readMessage({ ...learning, phase: 'finished', ladder: [90, 9, 0.001, 0] })).panels[0];
  const [dots] = marked.series.filter((each) => each.name === '3 steps');
  assert.deepEqual(dots.dots, [[0, 90], [1 / 3, 9], [2 / 3, 0.001]]);
  assert.ok(marked.y.domain[0] < 0.001 && marked.y.domain[1] > 90 && finite(marked));
  assert.match(trainingChart(readMessage({ ...base, phase: 'failed' })).status, /nothing was saved/);
  assert.doesNotMatch(over.status, /left/);
});

test('a comparison with bad parts', () => {
  const record = { sampler: 'euler', noises: 4, curves: [
    { name: 'mine', learned: true, points: [[6, 6, 0.1], [10, 10, 0.05], [20, 20, 0]] },
    { name: HOSTILE, learned: false, points: [[6, 6, 0.2]] }, { name: 'none', points: [] }, null, { points: 'x' }] };
  const chart = compareChart(record);
  assert.deepEqual(chart.panels[0].series.map((each) => each.name), [HOSTILE, 'mine']);
  assert.equal(chart.panels[0].hover.length, 3);
  assert.match(chart.panels[0].hover[0].text, /mine: error 0.1 at 6 steps, 6 model calls/);
  for (const bad of [null, {}, { curves: [] }, { curves: 'x' }, { curves: [{ points: [[1, 2]] }] }]) {
    assert.equal(compareChart(bad), null);
  }
});

test('schedules over each other', () => {
  const chart = overlayChart([{ name: 'a', clock }, { name: 'b', clock: [14, 3, 0] }, { name: 'bad', clock: [1] }]);
  assert.deepEqual(chart.panels[0].series.map((each) => each.tone), ['art', 'other1']);
  const read = chart.panels[0].hover.map(({ x, text }) => [x, /: (\w) at/.exec(text)[1]]);
  assert.deepEqual(read.filter(([, name]) => name === 'b'), [[0, 'b'], [0.5, 'b']]);
  assert.deepEqual(read.map(([x]) => x), read.map(([x]) => x).sort((a, b) => a - b));
  assert.deepEqual(overlayChart([]).panels, []);
  assert.equal(emptyChart('why').alt, 'why');
});

test('the list of schedules: what it says and what a search finds', () => {
  const list = readList({ schedules: [
    { name: 'demo-edm', origin: 'bundled', family: 'demo', date: null, sigma_max: 80, objective: 'euler' },
    { name: 'mine', origin: 'trained', family: 'SDXL', date: '2026-11-23', sigma_max: 14.61, objective: 'end:euler' },
    { name: HOSTILE, error: 'is damaged' }, { name: 3 }, null, { origin: '__proto__', name: 'odd', family: {} }] });
  assert.equal(list.length, 4);
  assert.deepEqual(list.map(describe), ['demo · bundled · from sigma 80',
    'SDXL · trained here · 2026-11-23 · from sigma 14.6 · end:euler', 'cannot be read: is damaged', '']);
  const names = (text) => search(list, text).map((each) => each.name);
  assert.deepEqual(names('sdxl here'), ['mine']);
  assert.deepEqual(names('IMG'), [HOSTILE]);
  assert.deepEqual(names(''), ['mine', 'demo-edm', HOSTILE, 'odd']); // one's own first
  assert.deepEqual(names('nothing at all'), []);
  for (const answer of [null, 3, {}, { schedules: {} }]) assert.deepEqual(readList(answer), []);
});
