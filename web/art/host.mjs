/** The one bridge to the host: its app, its server, its events, its canvas. All that may be missing is asked for. */

import { api } from '../../../scripts/api.js';
import { app } from '../../../scripts/app.js';
import { say, useTexts } from './words.mjs';

export { app };

/** Ids of a subgraph's own sides; newer front ends have ids as texts. */
const INPUT_SIDE = -10;
const OUTPUT_SIDE = -20;
const PATIENCE_MS = 30_000;
const SEEDED = ['ARTTrain', 'ARTCompare', 'ARTRecordOrbits'];

/**
 * An answer of one of our routes.
 * @param {string} path "/art/schedules"
 * @param {Object<string, string | number>} [query]
 * @returns {Promise<any>} null where the server does not answer, or knows no such thing
 */
export async function getJson(path, query = {}) {
  const asked = new URLSearchParams(Object.entries(query).map(([key, value]) => [key, String(value)]));
  try {
    // What never comes would keep everything waiting that is read after it.
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const answer = await api.fetchApi(`${asked}` ? `${path}?${asked}` : path, { signal });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** Call with every `art.train` message; newer front ends complain of messages that nobody listens to. */
export function onTraining(listener) {
  api.addEventListener('art.train', (event) => listener(event.detail));
}

/** Call when the connection is there again, also after a restart of the host. */
export function onReconnected(listener) {
  api.addEventListener('reconnected', listener);
}

/**
 * Call when the user has changed the graph, also when a node was muted or bypassed, which no node is told; returns what
 * stops that.
 */
export function onGraphChanged(listener) {
  api.addEventListener('graphChanged', listener);
  return () => api.removeEventListener('graphChanged', listener);
}

/** @returns {string} by which the server knows this tab, the same after a reload */
export function clientId() {
  return api.clientId ?? api.initialClientId ?? '';
}

/** @returns {any} the whole workflow's graph, also while a subgraph is open */
function rootGraph() {
  return app.rootGraph ?? app.graph ?? null;
}

/** @returns {string | null} the workflow's own id, which ART Train is told when it runs */
export function workflowId() {
  const id = rootGraph()?.id;
  return typeof id === 'string' ? id : null;
}

/** Nodes of the run under way whose outputs the server has kept from an earlier run, by their ids there. */
const cached = new Set();

/** Begin to listen for what is kept; once, when the page is set up. */
export function followCache() {
  api.addEventListener('execution_cached', ({ detail }) => {
    cached.clear();
    (Array.isArray(detail?.nodes) ? detail.nodes : []).forEach((id) => cached.add(String(id)));
  });
}

/**
 * Whether what a node told belongs to a workflow that is open in another tab of the page: it is handed to the nodes of
 * the one in front, where they have the same ids. What was kept from an earlier run names the workflow of that run,
 * which says nothing of this one.
 * @param {{workflow?: unknown, node?: unknown}} record
 */
export function isElsewhere({ workflow, node }) {
  const open = app.extensionManager?.workflow?.openWorkflows;
  if (typeof workflow !== 'string' || workflow === workflowId() || !Array.isArray(open)) return false;
  return !cached.has(String(node)) && open.some((each) => each.activeState?.id === workflow);
}

/**
 * Every id that the server may call a node by: "5", or "12:5" for each place where its subgraph is used.
 * @param {any} node of the graph
 * @returns {string[]}
 */
export function executionIds(node) {
  return placesOf(rootGraph(), node.graph, '').map((prefix) => `${prefix}${node.id}`);
}

function placesOf(graph, wanted, prefix, depth = 0) {
  if (!graph || depth > 20) return [];
  const here = graph === wanted ? [prefix] : [];
  const inner = (graph.nodes ?? []).filter((node) => node.subgraph);
  return [...here, ...inner.flatMap((node) => placesOf(node.subgraph, wanted, `${prefix}${node.id}:`, depth + 1))];
}

/** @returns {any[]} the whole workflow's graph and those of its subgraphs */
export function allGraphs() {
  return [rootGraph(), ...(rootGraph()?.subgraphs?.values?.() ?? [])];
}

/** @returns {any[]} all nodes of a class, those of subgraphs too */
export function nodesOf(comfyClass) {
  return allGraphs().flatMap((graph) => graph?.nodes ?? []).filter((node) => node.comfyClass === comfyClass);
}

/** @returns {any[]} the selected nodes of a class */
export function selectedNodes(comfyClass) {
  // The older name is not touched where there is a newer one: it warns.
  const items = app.canvas?.selectedItems ?? Object.values(app.canvas?.selected_nodes ?? {});
  return [...items].filter((node) => node.comfyClass === comfyClass);
}

/**
 * Change the graph as one step of undo.
 * @param {() => T} change
 * @returns {T}
 * @template T
 */
export function undoable(change) {
  const canvas = app.canvas;
  canvas?.emitBeforeChange?.();
  try {
    return change();
  } finally {
    // Older front ends order nodes only when a prompt is made: that would be a change, and a step of undo, of its own.
    (canvas?.graph ?? app.graph)?.updateExecutionOrder?.();
    canvas?.emitAfterChange?.();
    canvas?.setDirty?.(true, true);
  }
}

/** Set a widget as if the user had. */
export function setWidget(node, name, value) {
  const widget = node.widgets?.find((each) => each.name === name);
  if (!widget) return;
  widget.value = value;
  widget.callback?.(value, app.canvas, node);
}

/** @returns {any} a new node, not yet in a graph; null if the host has no such type */
export function createNode(type) {
  return globalThis.LiteGraph?.createNode(type) ?? null;
}

/** @returns {string[]} what a widget of a new node offers; empty if the host does not say */
export function choicesOf(type, name) {
  const input = globalThis.LiteGraph?.registered_node_types?.[type]?.nodeData?.input;
  const [kind, options] = { ...input?.required, ...input?.optional }[name] ?? [];
  return Array.isArray(kind) ? kind : options?.options ?? [];
}

/**
 * Hosts that cannot be told otherwise let the seed of a new node change after each run, which would train anew each time.
 * What a saved workflow says comes after this and stays.
 */
export function keepSeed(node) {
  const control = SEEDED.includes(node.comfyClass) && node.widgets?.find(({ name }) => name === 'control_after_generate');
  if (control) control.value = 'fixed';
}

/** Wire an output, or a subgraph's own input, to an input of a node. */
export function connect(graph, [originId, slot], node, inputName) {
  const index = node.inputs?.findIndex((input) => input.name === inputName) ?? -1;
  if (index < 0) return;
  if (Number(originId) === INPUT_SIDE) graph.inputNode?.slots?.[slot]?.connect(node.inputs[index], node);
  else graph.getNodeById(originId)?.connect(slot, node, index);
}

/** Wire an output of a node to an input of another, or to a subgraph's own output. */
export function connectOutput(graph, node, slot, [targetId, targetSlot]) {
  if (Number(targetId) === OUTPUT_SIDE) graph.outputNode?.slots?.[targetSlot]?.connect(node.outputs[slot], node);
  else node.connect(slot, graph.getNodeById(targetId), targetSlot);
}

/** @returns {boolean} whether the user is changing a node's size with the mouse */
export function isDragged(node) {
  return app.canvas?.resizing_node === node;
}

/**
 * Put a text into the clipboard.
 * @returns {Promise<boolean>} whether the browser let us
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers have that for pages over https, or of the same machine, only.
  }
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  return copied;
}

/** A message of the host's own kind; severity as "info", "warn" or "error". */
export function tell(severity, detail) {
  app.extensionManager?.toast?.add?.({ severity, summary: 'ART', detail, life: Math.max(6000, 70 * detail.length) });
}

/** @returns {any} a setting, or `otherwise` where the host does not know it */
export function setting(id, otherwise) {
  try {
    return app.extensionManager?.setting?.get?.(id) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/**
 * Read our texts in the user's language, which the host gathers from `locales/`; English needs no asking. They stay
 * for as long as the page is open.
 */
export async function loadTexts() {
  const language = setting('Comfy.Locale', 'en');
  if (language !== 'en') useTexts((await getJson('/i18n'))?.[language]?.artPage);
}

/** Show a list of ours in the side bar, where there is one. */
export function addSidebarTab(tab) {
  app.extensionManager?.registerSidebarTab?.({ type: 'custom', ...tab });
}

/** @returns {Promise<string[]>} names of the pack's example workflows */
export async function exampleWorkflows() {
  const names = (await getJson('/workflow_templates'))?.[packName()];
  return Array.isArray(names) ? names.filter((name) => typeof name === 'string').sort() : [];
}

/** Open an example workflow, as the host's template browser does. */
export async function openExample(name) {
  const graph = await getJson(`/workflow_templates/${encodeURIComponent(packName())}/${encodeURIComponent(name)}.json`);
  if (graph) await app.loadGraphData(graph, true, true, name);
  else tell('warn', say('exampleUnreadable'));
}

/** The folder that the pack is installed in, from our own address. */
function packName() {
  return decodeURIComponent(new URL(import.meta.url).pathname.split('/extensions/')[1]?.split('/')[0] ?? '');
}

/** Hand a turn of the wheel on to a canvas that draws its nodes itself; others get it on their own. */
export function passWheel(event) {
  if (globalThis.LiteGraph?.vueNodesMode) return;
  app.canvas?.processMouseWheel?.(event);
}

/** Load the style sheet beside this module, once. */
export function loadStyle() {
  const href = new URL('./art.css', import.meta.url).href;
  if (document.querySelector(`link[href="${CSS.escape(href)}"]`)) return;
  const link = document.createElement('link');
  link.rel = 'stylesheet';
  link.href = href;
  document.head.append(link);
}
