import assert from 'node:assert/strict';
import test from 'node:test';

import './fake_page.mjs';

const { legendRows } = await import('../../web/art/panels.mjs');
const { isDark } = await import('../../web/art/theme.mjs');

test('dark is what light text is read on', () => {
  const told = ['rgb(34, 34, 34)', 'rgb(240, 240, 240)', 'color(srgb 0.1 0.1 0.1)', 'rgba(255, 255, 255, 0.9)', ''];
  assert.deepEqual(told.map(isDark), [true, false, true, false, false]);
});

test('names of lines stand in rows within the width, none for a single line', () => {
  const series = Array.from({ length: 12 }, (_, i) => ({ name: `schedule ${i}`, tone: `other${i % 8}` }));
  const rows = legendRows(series, 200);
  assert.equal(rows[0][0].name, 'schedule 11');
  assert.equal(rows.flat().at(-1).name, 'and 4 more');
  assert.ok(rows.length > 1 && rows.every((row) => row[0].at === 0 && row.every(({ at }) => at < 200)));
  assert.deepEqual(legendRows(series.slice(0, 1), 200), []);
});
