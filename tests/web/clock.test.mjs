import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { clockFor, readClock, sigmas, timeOfSigma } from '../../web/art/clock.mjs';

const fixture = JSON.parse(readFileSync(new URL('./clock_fixture.json', import.meta.url)));

function assertClose(found, expected, where) {
  assert.equal(found.length, expected.length, where);
  found.forEach((value, i) => {
    const near = Math.abs(value - expected[i]) <= 1e-6 * Math.abs(expected[i]);
    assert.ok(near, `${where}, ${i}: ${value}, ${expected[i]}`);
  });
}

for (const schedule of fixture.schedules) {
  test(`reads ${schedule.name} as Python does`, () => {
    for (const { steps, denoise, sigma_max: top, sigmas: expected } of schedule.cases) {
      assertClose(sigmas(schedule, steps, denoise, top), expected, `${steps} steps, denoise ${denoise}, top ${top}`);
    }
  });
}

test('always falls strictly to exactly 0', () => {
  for (const schedule of fixture.schedules) {
    for (const steps of [1, 2, 17, 200]) {
      const grid = sigmas(schedule, steps);
      assert.equal(grid.length, steps + 1);
      assert.equal(grid[steps], 0);
      assert.ok(grid.every((sigma, i) => i === 0 || sigma < grid[i - 1]), schedule.name);
    }
  }
});

test('a wrong interpolation would be noticed', () => {
  const [schedule] = fixture.schedules;
  const { sigmas: expected } = schedule.cases.find((each) => each.steps === 7 && each.denoise === 1);
  const linear = expected.map((_, i) => {
    const position = (i / 7) * (schedule.clock.length - 1);
    const cell = Math.min(Math.floor(position), schedule.clock.length - 2);
    return schedule.clock[cell] + (position - cell) * (schedule.clock[cell + 1] - schedule.clock[cell]);
  });
  assert.throws(() => assertClose(linear, expected, 'linear'));
});

test('denoise 0 gives nothing, bad numbers are refused', () => {
  const [schedule] = fixture.schedules;
  assert.deepEqual(sigmas(schedule, 10, 0), []);
  for (const [steps, denoise] of [[0, 1], [1.5, 1], [NaN, 1], [10, 1.1], [10, -1], [10, NaN]]) {
    assert.throws(() => sigmas(schedule, steps, denoise), RangeError);
  }
});

test('the nearest grid, by ratio and not by difference', () => {
  const schedule = { clock: [1, 0], grids: { 4: [4], 20: [20], 8: [8] } };
  assert.deepEqual([1, 5, 6, 12, 13, 900].map((steps) => clockFor(schedule, steps)[0]), [4, 4, 8, 8, 20, 20]);
  assert.equal(clockFor({ clock: [1, 0], grids: { 8: [8], 2: [2] } }, 4)[0], 2, 'of two as near the smaller');
  assert.equal(clockFor({ clock: [1, 0] }, 3).length, 2);
});

test('a clock is exact at its nodes and can be turned round', () => {
  const { clock } = fixture.schedules[0];
  const times = clock.map((_, i) => i / (clock.length - 1));
  readClock(clock, times).forEach((sigma, i) => assert.ok(Math.abs(sigma - clock[i]) < 1e-9));
  for (const time of [0.1, 0.37, 0.9]) {
    assert.ok(Math.abs(timeOfSigma(clock, readClock(clock, [time])[0]) - time) < 1e-9);
  }
  assert.equal(timeOfSigma(clock, 1e9), 0);
  assert.ok(timeOfSigma(clock, 0) > 1 - 1e-9);
});
