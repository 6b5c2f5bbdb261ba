/** Nodes that are copied, removed, put back, and that take the place of others. */

import assert from 'node:assert/strict';
import test, { beforeEach, mock } from 'node:test';

import { app, create, FakeGraph, FakeNode, host, message, plotOf, reconnect, send, settle } from './fake_page.mjs';

const clock = Array.from({ length: 17 }, (_, i) => 80 * (1 - i / 16) ** 3);
await import('../../web/art.js');
const { setup, nodeCreated, afterConfigureGraph } = host.extension;
host.answers = { '/art/schedules': { schedules: [{ name: 'mine', origin: 'bundled' }] }, '/art/live': { runs: [] },
  '/art/schedule': { name: 'mine', clock, grids: {} }, '/art/ladders': { ladders: {} } };
setup();
await settle();
const report = mock.method(console, 'error', () => {});

let workflows = 0;
beforeEach(() => {
  // The page remembers what the nodes of a workflow told.
  app.graph = new FakeGraph(`workflow ${workflows += 1}`);
  afterConfigureGraph();
  report.mock.resetCalls();
  host.asked = [];
});

const NAMED = { schedule_name: 'mine', steps: 4, denoise: 1 };
const AUTO = { ...NAMED, schedule_name: 'auto' };
const COMPARED = { art_compare: [{ sampler: 'euler', noises: 4,
  curves: [{ name: 'mine', learned: true, points: [[4, 4, 0.5], [8, 8, 0.1]] }] }] };
const ladders = () => host.asked.filter((path) => path.startsWith('/art/ladders')).length;
const status = (node) => plotOf(node).element.all('div')[0].textContent;

/** What the host makes of a node to copy it: it never gets into a graph, and nobody removes it. */
function copyOf(node) {
  const copy = new FakeNode(node.type);
  nodeCreated(copy);
  copy.id = node.id;
  node.widgets.filter((widget) => widget.type !== 'art_plot').forEach(({ value }, i) => {
    copy.widgets[i].value = value;
  });
  copy.onConfigure?.();
}

/** As undo and another workflow do: a new node with the id of one that is gone. */
function replace(node, values = {}) {
  const { id } = node;
  app.graph.remove(node);
  const made = create(node.type, values, app.graph, id);
  afterConfigureGraph();
  return made;
}

test('copies that no graph gets do not listen', async () => {
  const node = create('ARTSigmas', NAMED);
  await settle();
  for (let i = 0; i < 10; i += 1) copyOf(node);
  await settle();
  assert.equal(ladders(), 1);
  reconnect();
  await settle();
  assert.equal(ladders(), 2);
  app.graph.remove(node);
  reconnect();
  await settle();
  assert.equal(ladders(), 2);
});

test('copies keep no training from being drawn', async () => {
  copyOf(create('ARTSigmas', NAMED));
  const train = create('ARTTrain');
  copyOf(train);
  send(message({ node: String(train.id), workflow: app.graph.id, run: 3, done: 2 }));
  await settle(20);
  assert.match(status(train), /model call 2 of 4/);
  assert.equal(report.mock.callCount(), 0);
});

test('a node that is put back draws and listens again, once', async () => {
  const [sigmas, train] = [create('ARTSigmas', NAMED), create('ARTTrain')];
  const told = { node: String(train.id), workflow: app.graph.id, run: 4 };
  await settle();
  [sigmas, train].forEach((node) => app.graph.remove(node));
  send(message({ ...told, done: 2, number: 2 }));
  host.answers['/art/live'] = { runs: [message({ ...told, done: 2, number: 2 })] };
  reconnect();
  await settle();
  assert.equal(ladders(), 1);
  for (const [id, node] of [sigmas, train].entries()) {
    app.graph.add(node, id + 1);
    node.onAdded();
    node.onAdded();
  }
  await settle();
  assert.equal(ladders(), 2);
  assert.match(status(train), /model call 2 of 4/);
  send(message({ ...told, done: 3, number: 3 }));
  reconnect();
  await settle();
  host.answers['/art/live'] = { runs: [] };
  assert.equal(ladders(), 3);
  assert.match(status(train), /model call 3 of 4/);
});

test('a node whose subgraph was dropped without removing it does not listen', async () => {
  const inner = new FakeGraph('inner');
  app.graph.subgraphs.set('inner', inner);
  create('ARTSigmas', NAMED, inner);
  await settle();
  afterConfigureGraph();
  reconnect();
  await settle();
  assert.equal(ladders(), 2);
  app.graph = new FakeGraph();
  afterConfigureGraph();
  reconnect();
  await settle();
  assert.equal(ladders(), 2);
});

test('a comparison is there again after undo and in its own workflow only', async () => {
  let node = create('ARTCompare');
  await settle(20);
  assert.match(status(node), /queue the workflow/);
  node.onExecuted(COMPARED);
  await settle(20);
  assert.equal(status(node), 'error of euler over 4 noises');
  node = replace(node);
  await settle(20);
  assert.equal(status(node), 'error of euler over 4 noises');
  const first = app.graph;
  app.graph = new FakeGraph('another');
  const other = create('ARTCompare');
  await settle(20);
  assert.equal(other.id, node.id);
  assert.match(status(other), /queue the workflow/);
  // The page may put the nodes in before it names the workflow.
  app.graph.id = first.id;
  afterConfigureGraph();
  await settle(20);
  assert.equal(status(other), 'error of euler over 4 noises');
});

test('what auto took is known after undo, and to no node of another class', async () => {
  let node = create('ARTSigmas', AUTO);
  node.onExecuted({ art_sigmas: [{ name: 'mine' }] });
  await settle();
  assert.match(status(node), /^from 80/);
  node = replace(node, AUTO);
  // Reading a workflow tells a node of its wires.
  node.onConnectionsChange();
  await settle();
  assert.match(status(node), /^from 80/);
  app.graph.remove(node);
  const stranger = create('ARTCompare', {}, app.graph, node.id);
  await settle(20);
  assert.match(status(stranger), /queue the workflow/);
});

test('a comparison in a subgraph that is used twice', async () => {
  const inner = new FakeGraph('inner');
  for (const id of [12, 13]) app.graph.add({ comfyClass: 'inner', subgraph: inner }, id);
  create('ARTCompare', {}, inner).onExecuted(COMPARED);
  // The first place is gone, the second one still shows it.
  app.graph.nodes.shift();
  inner.nodes = [];
  const node = create('ARTCompare', {}, inner);
  await settle(20);
  assert.equal(status(node), 'error of euler over 4 noises');
});

test('of very many records the oldest are forgotten', async () => {
  const { keepRecord, recordOf } = await import('../../web/art/records.mjs');
  const nodes = Array.from({ length: 300 }, (_, id) => ({ comfyClass: 'ARTCompare', id, graph: app.graph }));
  nodes.forEach((node) => {
    keepRecord(node, { told: node.id });
    keepRecord(nodes[0], { told: 'again' });
  });
  assert.equal(recordOf(nodes[0]).told, 'again');
  assert.equal(recordOf(nodes[299]).told, 299);
  assert.ok(nodes.filter((node) => recordOf(node)).length <= 200);
  assert.equal(recordOf(nodes[1]), null);
});

test('the wheel over a plot zooms the canvas and not the page', () => {
  app.canvas.processMouseWheel = (event) => event.preventDefault();
  const turn = () => {
    const event = new Event('wheel', { cancelable: true });
    plotOf(create('ARTSigmas')).element.dispatchEvent(event);
    return event.defaultPrevented;
  };
  assert.ok(turn());
  globalThis.LiteGraph.vueNodesMode = true;
  assert.ok(!turn());
  delete globalThis.LiteGraph.vueNodesMode;
});
