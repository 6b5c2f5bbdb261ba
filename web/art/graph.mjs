/** Between the page's graph and plain data: describing a node for rewrite.mjs, and carrying out its plan. */

import { allGraphs, connect, connectOutput, createNode, setWidget, undoable } from './host.mjs';

const [MUTED, BYPASSED] = [2, 4]; // a node's mode

/**
 * A node of the page as plain data.
 * @param {any} node
 * @returns {import('./rewrite.mjs').PlainNode}
 */
export function describeNode(node) {
  const source = (input, index) => {
    const link = inputLink(node, index);
    return link ? [[input.name, [link.origin_id, link.origin_slot]]] : [];
  };
  const leaving = allLinks(node.graph).filter((link) => String(link.origin_id) === String(node.id));
  const targets = (_, slot) => leaving.filter((link) => link.origin_slot === slot)
    .map((link) => [link.target_id, link.target_slot]);
  return {
    id: node.id, type: node.comfyClass ?? node.type, mode: node.mode,
    pos: [node.pos[0], node.pos[1]], size: [node.size[0], node.size[1]], look: lookOf(node),
    widgets: Object.fromEntries((node.widgets ?? []).map((widget) => [widget.name, widget.value])),
    inputs: Object.fromEntries((node.inputs ?? []).flatMap(source)),
    outputs: (node.outputs ?? []).map(targets),
  };
}

/** What the user gave a node to be known by: a title of its own and colours. */
function lookOf(node) {
  const title = node.title === node.constructor?.title ? undefined : node.title;
  return Object.fromEntries(Object.entries({ title, color: node.color, bgcolor: node.bgcolor }).filter(([, told]) => told));
}

/** @returns {(id: string | number) => import('./rewrite.mjs').PlainNode | null} nodes of the same graph */
export function neighbours(node) {
  return (id) => {
    const found = node.graph?.getNodeById?.(id);
    return found ? describeNode(found) : null;
  };
}

/** @returns {string} what feeds an input, "5:0" for the first output of node 5; empty if nothing does */
export function sourceOf(node, name) {
  const index = node.inputs?.findIndex((input) => input.name === name) ?? -1;
  const link = index >= 0 ? inputLink(node, index) : null;
  return link && !isCut(node.graph?.getNodeById?.(link.origin_id), link) ? `${link.origin_id}:${link.origin_slot}` : '';
}

/** Whether the host runs as if a wire were not there: from a muted node, or a bypassed one with nothing to hand on. */
function isCut(origin, link) {
  const type = origin?.outputs?.[link.origin_slot]?.type;
  const handsOn = (input) => [type, '*'].includes(input.type) && (input.link ?? null) !== null;
  return origin?.mode === MUTED || (origin?.mode === BYPASSED && !origin.inputs?.some(handsOn));
}

/** The wire of an input; older hosts are asked through the graph. */
function inputLink(node, index) {
  if (node.getInputLink) return node.getInputLink(index);
  return allLinks(node.graph).find((link) => link.id === node.inputs[index].link) ?? null;
}

function allLinks(graph) {
  return [...(graph?.links?.values?.() ?? Object.values(graph?.links ?? {}))];
}

/**
 * Carry out a plan as one step of undo.
 * @param {import('./rewrite.mjs').Plan} plan
 * @param {any} graph
 * @returns {any[] | null} the new nodes; null, and nothing is changed, if the host lacks one of their types
 */
export function carryOut(plan, graph) {
  const made = new Map(plan.add.map(({ key, type }) => [key, createNode(type)]));
  if ([...made.values()].some((node) => !node)) return null;
  return undoable(() => {
    for (const { key, ...told } of plan.add) place(graph, made.get(key), told);
    const idOf = (ref) => made.get(ref)?.id ?? ref;
    for (const { from: [ref, slot], to, input } of plan.connect) connect(graph, [idOf(ref), slot], made.get(to), input);
    for (const { from: [key, slot], to } of plan.outputs) connectOutput(graph, made.get(key), slot, to);
    for (const { from, to: [key, name] } of plan.moved) movePromoted(graph, from, [String(made.get(key).id), name]);
    for (const id of plan.remove) graph.remove(graph.getNodeById(id));
    return [...made.values()];
  });
}

function place(graph, node, { pos, mode, look, widgets }) {
  node.pos = [...pos];
  Object.assign(node, look);
  graph.add(node);
  if (mode) node.mode = mode;
  for (const [name, value] of Object.entries(widgets)) setWidget(node, name, value);
}

/** Older front ends name the widgets that a subgraph shows outside by node and name. */
function movePromoted(graph, [id, name], place) {
  for (const outside of allGraphs().flatMap((each) => each?.nodes ?? []).filter((node) => node.subgraph === graph)) {
    const shown = outside.properties?.proxyWidgets;
    if (!Array.isArray(shown) || !shown.some((each) => isOf(each, id, name))) continue;
    outside.properties.proxyWidgets = shown.map((each) => (isOf(each, id, name) ? place : each));
    // Where that is in a subgraph too, it is known there by both.
    movePromoted(outside.graph, [outside.id, `${id}: ${name}`], [String(outside.id), place.join(': ')]);
  }
}

function isOf([shownId, shownName], id, name) {
  return String(shownId) === String(id) && shownName === name;
}
