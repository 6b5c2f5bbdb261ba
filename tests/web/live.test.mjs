import assert from 'node:assert/strict';
import test from 'node:test';

import { isOver, nodeKey, progress, readMessage, reduce, reduceAll, stateOf } from '../../web/art/live.mjs';

/** A training as the server tells of it, in order. */
function messages(node = '5', run = 1000, workflow = 'w') {
  const base = { node, run, workflow, calls: 0, seconds: 0, left: null, start: [], clock: [], costs: [], name: null };
  const costs = [[1, 1.4], [2, 1.2], [3, 1.01]];
  return [
    { ...base, phase: 'recording', done: 1, total: 4, calls: 1 },
    { ...base, phase: 'recording', done: 4, total: 4, calls: 4, seconds: 2, left: 0 },
    ...costs.map((_, i) => ({
      ...base, phase: 'learning', done: i + 1, total: 3, calls: 4, seconds: 3 + i, left: 2 - i, start: [80, 40, 0],
      clock: [80, 40 - i, 0], costs: costs.slice(0, i + 1), iteration: i + 1, iterations: 3,
    })),
    { ...base, phase: 'finished', done: 3, total: 3, calls: 4, seconds: 6, left: 0, start: [80, 40, 0],
      clock: [80, 38, 0], costs, iteration: 3, iterations: 3, name: 'mine' },
  ].map((message, i) => ({ ...message, number: i + 1 }));
}

const after = (list, known = null) => list.reduce((state, message) => reduce(state, message), known);

test('a whole training', () => {
  const state = after(messages());
  assert.equal(state.phase, 'finished');
  assert.equal(state.name, 'mine');
  assert.deepEqual(state.start, [80, 40, 0]);
  assert.deepEqual(state.clock, [80, 38, 0]);
  assert.equal(state.costs.length, 3);
  assert.ok(isOver(state));
});

test('any order, any loss and any repetition end in the same state, as long as the last message came', () => {
  const list = messages();
  const expected = after(list);
  const last = list.at(-1);
  const orders = [[...list].reverse(), [...list, ...list], [last], [list[0], last, list[3]], [list[4], list[2], last]];
  for (const order of orders) assert.deepEqual(after(order), expected);
});

test('a late message never takes the picture back', () => {
  const list = messages();
  const state = after(list.slice(0, 5));
  assert.equal(reduce(state, list[2]), state);
  assert.equal(reduce(state, list[4]), state);
  const over = after(list);
  assert.equal(reduce(over, { ...list[4], number: 99 }), over);
});

test('a reload in the middle: the last state first, then what follows', () => {
  const list = messages();
  const fetched = reduce(null, list[3]);
  assert.deepEqual(fetched.start, [80, 40, 0]);
  assert.deepEqual(after(list.slice(4), fetched), after(list));
  // The answer of the route may come after newer messages.
  const newer = reduce(null, list[4]);
  assert.equal(reduce(newer, list[3]), newer);
});

test('a new run takes the place of the old one, an older one does not', () => {
  const old = after(messages('5', 1000));
  const fresh = reduce(old, messages('5', 2000)[0]);
  assert.deepEqual([fresh.run, fresh.phase, fresh.clock, fresh.costs], [2000, 'recording', [], []]);
  assert.equal(reduce(fresh, messages('5', 1000).at(-1)), fresh);
});

test('the result that a node gives now counts, though the host kept it of an older run, once all is over', () => {
  const [older, newer] = [1000, 2000].map((run) => ({ ...messages('5', run).at(-1), phase: 'finished', name: `n${run}` }));
  const known = reduce(null, newer);
  assert.equal(reduce(known, older), known);
  assert.equal(reduce(known, older, true).name, 'n1000');
  assert.equal(reduce(known, { ...older, phase: 'learning' }, true), known);
  const under = reduce(null, messages('5', 2000)[0]);
  assert.equal(reduce(under, older, true), under);
});

test('nodes, also of subgraphs and of other workflows, are kept apart', () => {
  let states = {};
  for (const [node, run, workflow] of [['5', 1, 'a'], ['12:5', 2, 'a'], ['5', 3, 'b']]) {
    for (const message of messages(node, run, workflow)) states = reduceAll(states, message);
  }
  assert.deepEqual([stateOf(states, 'a', 5).run, stateOf(states, 'a', '12:5').run, stateOf(states, 'b', '5').run],
    [1, 2, 3]);
  assert.equal(stateOf(states, 'c', '5'), null);
  states = reduceAll(states, { ...messages('5', 9)[0], workflow: undefined });
  assert.equal(stateOf(states, 'c', '5').run, 9);
  assert.equal(reduceAll(states, messages('5', 1, 'a')[0]), states);
});

test('a page that stays open for weeks forgets the nodes that were told of longest ago', () => {
  let states = {};
  for (let node = 0; node < 300; node += 1) states = reduceAll(states, messages(`n${node}`, 1, 'a')[0]);
  states = reduceAll(states, messages('n100', 2, 'a')[0]);
  states = reduceAll(states, messages('n300', 1, 'a')[0]);
  assert.equal(Object.keys(states).length, 200);
  assert.deepEqual(['n99', 'n101', 'n102', 'n300'].map((node) => stateOf(states, 'a', node)?.run), [undefined, undefined, 1, 1]);
  assert.equal(stateOf(states, 'a', 'n100').run, 2);
});

test('what is no message changes nothing', () => {
  const [known] = messages().map(readMessage);
  const bad = [null, undefined, 3, 'x', [], {}, { node: '5' }, { ...known, phase: 'x' }, { ...known, run: 'x' },
    { ...known, run: NaN }, { ...known, node: {} }, { ...known, phase: '__proto__' }];
  for (const message of bad) {
    assert.equal(readMessage(message), null);
    assert.equal(reduce(known, message), known);
  }
  assert.deepEqual(Object.keys(reduceAll({}, { ...known, node: '__proto__', workflow: null })), ['#__proto__']);
  assert.equal(nodeKey('__proto__', 1), '__proto__#1');
});

test('bad parts of a message are left out', () => {
  const [, , message] = messages();
  const read = readMessage({ ...message, clock: [1, NaN, 0], costs: [[1, 2], [2, 'x'], 3, [3, -1]], start: 'x',
    left: -3, done: 'x', name: { toString: () => 'x' } });
  assert.deepEqual([read.clock, read.costs, read.start], [[], [[1, 2]], []]);
  assert.deepEqual([read.left, read.done, read.name], [0, 0, null]);
});

test('progress', () => {
  const list = messages().map(readMessage);
  assert.deepEqual(list.map(progress), [0.25, 1, 1 / 3, 2 / 3, 1, 1]);
  assert.equal(progress(readMessage({ ...list[0], total: 0 })), 0);
});
