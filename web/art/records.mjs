/**
 * What nodes told when they last ran. Undo and another workflow put new nodes in the place of old ones, so this is kept
 * for the page by workflow and place, as trainings are. The newest stay over a reload: the host does not tell again what
 * it need not run again.
 */

import { executionIds, isElsewhere, workflowId } from './host.mjs';
import { Listeners } from './listeners.mjs';
import { nodeKey } from './live.mjs';

/** Beyond these the oldest is forgotten: a page may stay open for weeks. */
const MOST = 200;
/** So many stay over a reload, in the tab's own storage. */
const STORED = 20;
const STORE = 'ART.records';
const kept = new Map(restored());
const listeners = new Listeners();

/** Call when nodes may have taken the place of others; returns what stops that. */
export function onRecords(listener) {
  return listeners.add(listener);
}

/** Show all records again, as when another workflow was opened. */
export function redrawRecords() {
  listeners.call();
}

/**
 * Keep what a node told: of the graph in front, or of another workflow, if it says so.
 * @param {any} node of the graph
 * @param {any} record
 */
export function keepRecord(node, record) {
  const elsewhere = isElsewhere(record);
  for (const key of elsewhere ? [nodeKey(record.workflow, record.node)] : keysOf(node)) {
    // The newest stand last.
    kept.delete(key);
    kept.set(key, record);
  }
  while (kept.size > MOST) kept.delete(kept.keys().next().value);
  try {
    sessionStorage.setItem(STORE, JSON.stringify([...kept].slice(-STORED)));
  } catch {
    // Full or forbidden: then a reload forgets.
  }
}

/** @returns {Array<[string, any]>} what this tab kept before it was loaded again */
function restored() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE)).filter(([key, record]) => typeof key === 'string' && record);
  } catch {
    return [];
  }
}

/**
 * What a node, or one whose place it took, told last.
 * @param {any} node of the graph
 * @returns {any} null if it has not run
 */
export function recordOf(node) {
  const found = keysOf(node).find((key) => kept.has(key));
  return found === undefined ? null : kept.get(found);
}

/** One for each place of a node. */
function keysOf(node) {
  const ids = executionIds(node);
  return (ids.length ? ids : [node.id]).map((id) => nodeKey(workflowId(), id));
}
