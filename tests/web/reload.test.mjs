/** What a tab still knows after it was loaded again. */

import assert from 'node:assert/strict';
import test from 'node:test';

const stored = new Map();
globalThis.sessionStorage = { getItem: (key) => stored.get(key) ?? null, setItem: (key, text) => stored.set(key, text) };
const { app, FakeGraph } = await import('./fake_page.mjs');
app.graph = new FakeGraph('reloaded');
const node = { id: 5, graph: app.graph };
const told = { name: 'mine', choice: 'auto', sigmas: [80, 20, 5, 1, 0], asked: '["auto"]' };

/** The module as a page has it that was just loaded. */
let loads = 0;
const load = () => import(`../../web/art/records.mjs?load=${loads += 1}`);

test('what nodes told is there again after a reload, the newest of it', async () => {
  const before = await load();
  before.keepRecord(node, told);
  assert.deepEqual((await load()).recordOf(node), told);
  for (let i = 0; i < 30; i += 1) before.keepRecord({ id: `n${i}`, graph: app.graph }, { ...told, number: i });
  const after = await load();
  assert.equal(after.recordOf(node), null);
  assert.equal(after.recordOf({ id: 'n29', graph: app.graph }).number, 29);
});

test('a storage that is full, forbidden or holds something else only forgets', async () => {
  for (const text of ['{', '{"a": 1}', 'null', '[1, ["k"], null]']) {
    stored.set('ART.records', text);
    assert.equal((await load()).recordOf(node), null);
  }
  globalThis.sessionStorage = { getItem: () => null, setItem: () => { throw new Error('quota'); } };
  const full = await load();
  full.keepRecord(node, told);
  assert.deepEqual(full.recordOf(node), told);
  delete globalThis.sessionStorage;
  assert.equal((await load()).recordOf(node), null);
});
