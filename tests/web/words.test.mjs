import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test, { afterEach } from 'node:test';

import { ladderChart, trainingStatus } from '../../web/art/charts.mjs';
import { describe } from '../../web/art/schedules.mjs';
import { count, ENGLISH, say, useTexts } from '../../web/art/words.mjs';

const textsOf = (language) => JSON.parse(readFileSync(new URL(`../../locales/${language}/main.json`, import.meta.url)))
  .artPage;
const places = (text) => (text.match(/\$[a-z]+/g) ?? []).sort();

afterEach(() => useTexts({}));

test('the English file is what the page falls back to', () => {
  assert.deepEqual(textsOf('en'), ENGLISH);
});

test('every text is translated, with the same places for values', () => {
  const chinese = textsOf('zh');
  assert.deepEqual(Object.keys(chinese), Object.keys(ENGLISH));
  for (const [name, text] of Object.entries(chinese)) {
    assert.deepEqual(places(text), places(ENGLISH[name]), name);
    if (!['sigma'].includes(name)) assert.notEqual(text, ENGLISH[name], name);
  }
});

test('values are put in as they are, once', () => {
  assert.equal(say('noSchedule', { name: '$name $& <b>' }), 'there is no schedule “$name $& <b>” to draw');
  assert.equal(say('noSchedule'), 'there is no schedule “$name” to draw');
  assert.deepEqual([count(1, 'step'), count(4, 'step'), count(0, 'noise')], ['1 step', '4 steps', '0 noises']);
});

test('what a language lacks stays English, and what is no text is left out', () => {
  useTexts({ cost: '代价', error: 3, now: '', __proto__: { start: 'x' }, unknown: 'x' });
  assert.deepEqual(['cost', 'error', 'now', 'start'].map((name) => say(name)), ['代价', 'error', 'now', 'start']);
  for (const bad of [undefined, null, 3, 'x', []]) {
    useTexts(bad);
    assert.equal(say('cost'), 'cost');
  }
});

test('plots and lists speak the language, their numbers stay', () => {
  useTexts(textsOf('zh'));
  const chart = ladderChart({ name: 'mine', schedule: { clock: [80, 20, 5, 0] }, steps: 3, denoise: 1 });
  assert.equal(chart.alt, 'mine 的 sigma 阶梯：3 步，从 80 到 5，然后为 0。');
  const state = { phase: 'finished', name: 'mine', calls: 1, seconds: 75, left: 0, costs: [[1, 1.0123]], clock: [] };
  assert.equal(trainingStatus(state), '已保存为 mine · 代价为最优的 1.012 倍 · 1 次模型调用 · 1 min 15 s');
  assert.equal(describe({ name: 'mine', origin: 'trained', sigma_max: 14.6146 }), '本机训练 · 从 sigma 14.6 起');
});
