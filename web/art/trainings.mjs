/** The trainings that this tab has queued: what is known of each node, kept up to date. */

import { clientId, executionIds, getJson, nodesOf, onReconnected, onTraining, selectedNodes, setting, tell, undoable,
  workflowId } from './host.mjs';
import { refresh, useSchedule } from './library.mjs';
import { Listeners } from './listeners.mjs';
import { isOver, nodeKey, readMessage, reduceAll, stateOf } from './live.mjs';
import { offer } from './toast.mjs';
import { say } from './words.mjs';

export const OFFER = 'ART.Offer';
let states = {};
const listeners = new Listeners();

/** Begin to listen; once, when the page is set up. */
export function followTrainings() {
  onTraining(receive);
  onReconnected(catchUp);
  catchUp();
}

/** Call whenever something is known anew; returns what stops that. */
export function onTrainings(listener) {
  return listeners.add(listener);
}

/**
 * The newest state of an ART Train node.
 * @param {any} node of the graph
 * @returns {import('./live.mjs').LiveState | null}
 */
export function trainingOf(node) {
  const found = executionIds(node).map((id) => stateOf(states, workflowId(), id)).filter(Boolean);
  return found.reduce((best, state) => (!best || state.run > best.run ? state : best), null);
}

/**
 * What the server says of a run. Of several tabs only the one that queued it is told.
 * @param {unknown} message
 */
function receive(message) {
  const told = readMessage(message);
  if (!told) return;
  const key = nodeKey(told.workflow, told.node);
  const before = states[key];
  if (!learn(message)) return;
  const isNews = told.phase === 'finished' && before?.run === told.run && !isOver(before);
  if (isNews && told.name) announce(told.name);
}

/** Draw all pictures again, as when another workflow was opened. */
export function redrawTrainings() {
  listeners.call();
}

/**
 * Take up a state without announcing it, as after a reload or from a node's output.
 * @param {unknown} message
 * @param {boolean} [used] whether it is of the run whose result the node gives now, be it an older one
 */
export function learn(message, used = false) {
  const next = reduceAll(states, message, used);
  if (next === states) return false;
  states = next;
  redrawTrainings();
  return true;
}

async function catchUp() {
  const [client, before] = [clientId(), Object.values(states)];
  const answer = client ? await getJson('/art/live', { client }) : null;
  if (Array.isArray(answer?.runs)) {
    answer.runs.forEach((run) => learn(run));
    // What the server knows nothing of ended with the one that began it.
    before.filter((state) => !isOver(state) && !answer.runs.some((each) => each?.run === state.run))
      .forEach((state) => learn({ ...state, phase: 'failed' }));
  }
  await refresh();
}

async function announce(name) {
  await refresh();
  if (setting(OFFER, true)) offer(say('saved', { name }), say('use'), () => putIntoNode(name));
}

/**
 * Have the selected ART Sigmas nodes, or the only one there is, use a schedule.
 * @param {string} name
 * @returns {boolean} whether there was one
 */
export function putIntoNode(name) {
  const selected = selectedNodes('ARTSigmas');
  const all = nodesOf('ARTSigmas');
  const nodes = selected.length || all.length !== 1 ? selected : all;
  if (!nodes.length) {
    tell('info', say('selectFirst'));
    return false;
  }
  const taken = undoable(() => nodes.map((node) => useSchedule(node, name)));
  if (taken.some(Boolean)) tell('info', say('used', { name }));
  return true;
}
