import assert from 'node:assert/strict';
import test from 'node:test';

import { Listeners } from '../../web/art/listeners.mjs';

test('a listener that throws costs the others nothing, and is reported once a call', (context) => {
  const report = context.mock.method(console, 'error', () => {});
  const [listeners, heard, broken] = [new Listeners(), [], new Error('broken')];
  listeners.add(() => heard.push('first'));
  for (let i = 0; i < 2; i += 1) listeners.add(() => { throw broken; });
  listeners.add(() => heard.push('last'));
  listeners.call();
  assert.deepEqual(heard, ['first', 'last']);
  assert.equal(report.mock.callCount(), 1);
  assert.deepEqual(report.mock.calls[0].arguments.slice(1), [broken, broken]);
  listeners.call();
  assert.deepEqual([heard.length, report.mock.callCount()], [4, 2]);
});

test('who stopped listening is not called, nor while others are', (context) => {
  const report = context.mock.method(console, 'error', () => {});
  const [listeners, heard] = [new Listeners(), []];
  const stop = listeners.add(() => heard.push('stopped'));
  listeners.add(() => later());
  const later = listeners.add(() => heard.push('later'));
  stop();
  stop();
  listeners.call();
  assert.deepEqual([heard, report.mock.callCount()], [[], 0]);
});
