import assert from 'node:assert/strict';
import test from 'node:test';

import * as format from '../../web/art/format.mjs';
import { linePath, morph, nearest, resample } from '../../web/art/paths.mjs';
import { linearScale, linearTicks, logScale, logTicks } from '../../web/art/scales.mjs';

test('a linear scale stays within its range', () => {
  const scale = linearScale([0, 10], [100, 200]);
  assert.deepEqual([0, 5, 10, 12, -3].map(scale.at), [100, 150, 200, 200, 100]);
  assert.ok(Number.isFinite(linearScale([3, 3], [0, 10]).at(3)));
});

test('a log scale turns ratios into distances and takes 0', () => {
  const scale = logScale([0.01, 100], [0, 400]);
  assert.ok(Math.abs(scale.at(1) - 200) < 1e-9);
  assert.equal(scale.at(0), 0);
  assert.ok(Number.isFinite(logScale([0, 0], [0, 1]).at(5)));
});

test('ticks are 1, 2 or 5 times a power of ten, within the range and no more than fit', () => {
  assert.deepEqual(linearTicks(0, 10, 5), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(linearTicks(0, 1, 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(linearTicks(0, 3, 10, true), [0, 1, 2, 3]);
  assert.deepEqual(linearTicks(1, 1, 5), []);
  for (const [low, high, most] of [[0, 7, 4], [0.1, 0.37, 6], [-3, 250, 8], [1e-9, 3e-9, 5]]) {
    const ticks = linearTicks(low, high, most);
    assert.ok(ticks.length >= 1 && ticks.length <= most + 1);
    assert.ok(ticks.every((tick) => tick >= low - 1e-12 && tick <= high + 1e-12));
    assert.ok(ticks.every((tick) => String(tick).length < 8), String(ticks));
  }
});

test('log ticks thin out with the room', () => {
  assert.deepEqual(logTicks(0.1, 10, 20), [0.1, 0.2, 0.5, 1, 2, 5, 10]);
  assert.deepEqual(logTicks(0.1, 10, 5), [0.1, 0.3, 1, 3, 10]);
  assert.deepEqual(logTicks(0.002, 80, 6), [0.01, 0.1, 1, 10]);
  assert.ok(logTicks(1e-12, 1e12, 4).length <= 4);
  for (const ticks of [logTicks, linearTicks]) assert.deepEqual(ticks(1, Infinity, 5), []);
  assert.ok(Number.isFinite(logScale([1, Infinity], [0, 100]).at(3)));
  assert.deepEqual(logTicks(1, 1.4, 4), [1, 1.1, 1.2, 1.3, 1.4]);
  assert.deepEqual([logTicks(0, 1, 5), logTicks(2, 1, 5), logTicks(1, 100, 0)], [[], [], []]);
});

test('path data', () => {
  assert.equal(linePath([[0, 1], [2.006, 3]]), 'M0 1L2.01 3');
  assert.equal(linePath([[0, 1], [NaN, 3], [4, 5], [6, 7]]), 'M0 1M4 5L6 7');
  assert.equal(linePath([]), '');
});

test('curves of different length turn into each other', () => {
  assert.deepEqual(resample([0, 2], 3), [0, 1, 2]);
  assert.deepEqual(resample([7], 3), [7, 7, 7]);
  assert.deepEqual(morph([0, 0, 0], [2, 4], 0.5), [1, 1.5, 2]);
  assert.deepEqual(morph([0, 0, 0], [2, 4], 1), [2, 4]);
  assert.deepEqual(morph([5, 1], [2, 4, 6], 0), [5, 1]);
  assert.deepEqual(morph([], [2, 4], 0.1), [2, 4]);
});

test('the nearest point', () => {
  assert.equal(nearest([0, 10, 20], 14), 1);
  assert.equal(nearest([0, 10], -5), 0);
  assert.equal(nearest([], 3), -1);
});

test('numbers', () => {
  assert.deepEqual([14.6146, 0.0292, 0, 1234567, 0.00001234, 999.6, 12345, -0.5].map((value) => format.number(value)),
    ['14.6', '0.0292', '0', '1.23e6', '1.23e-5', '1000', '12345', '-0.5']);
  assert.equal(format.number(1.00466, 4), '1.005');
  assert.deepEqual([NaN, Infinity, undefined, null].map((value) => format.number(value)), ['–', '–', '–', '–']);
  assert.deepEqual([0.002, 80, 0, 0.0001, 200000].map(format.tick), ['0.002', '80', '0', '1e-4', '2e5']);
});

test('times and shares', () => {
  assert.deepEqual([0, 0.44, 9.949, 9.96, 59.6, 200, 3599.7, 7500, null, NaN, Infinity].map(format.seconds),
    ['0.0 s', '0.4 s', '9.9 s', '10 s', '1 min', '3 min 20 s', '1 h', '2 h 5 min', '–', '–', '–']);
  assert.deepEqual([0, 0.314, 1, NaN].map(format.percent), ['0 %', '31 %', '100 %', '–']);
});

test('texts are cut between letters', () => {
  assert.equal(format.shortened('abcdef', 4), 'abc…');
  assert.equal(format.shortened('ab', 4), 'ab');
  assert.equal(format.shortened('😀😀😀', 2), '😀…');
  assert.equal(format.shortened(null, 4), '');
});

test('sigmas as text are never in powers of ten', () => {
  assert.equal(format.sigmasText([14.6146, 0.00000012, 0]), '14.6146, 0.00000012, 0');
  assert.ok(!/e/.test(format.sigmasText([1e-12, 1e22, 3.4e-7])));
});
