/** Several workflows in one page, wires that decide instead of widgets, and what a subgraph shows outside. */

import assert from 'node:assert/strict';
import test, { beforeEach, mock } from 'node:test';

import { api, app, create, FakeGraph, host, message, plotOf, reconnect, send, settle } from './fake_page.mjs';

const clock = Array.from({ length: 17 }, (_, i) => 80 * (1 - i / 16) ** 3);
const SIGMAS = [80, 20, 5, 1, 0];
await import('../../web/art.js');
const { setup, getNodeMenuItems, commands, afterConfigureGraph } = host.extension;
host.answers = { '/art/schedules': { schedules: [{ name: 'mine' }, { name: 'other' }] }, '/art/live': { runs: [] },
  '/art/schedule': { name: 'mine', clock, grids: {} }, '/art/ladders': { ladders: {} } };
setup();
await settle();
mock.method(console, 'error', () => {});

let workflows = 0;
beforeEach(() => {
  app.graph = new FakeGraph(`place ${workflows += 1}`);
  app.canvas.selected_nodes = {};
  delete app.extensionManager.workflow;
  afterConfigureGraph();
  Object.assign(host, { events: [], told: [], asked: [] });
  host.answers['/art/live'] = { runs: [] };
});

const NAMED = { schedule_name: 'mine', steps: 4, denoise: 1 };
const status = (node) => plotOf(node).element.all('div')[0].textContent;
const value = (node, name) => node.widgets.find((widget) => widget.name === name).value;
const ladders = () => host.asked.filter((path) => path.startsWith('/art/ladders')).length;
const compared = (place) => ({ art_compare: [{ sampler: 'euler', noises: 4, ...place,
  curves: [{ name: 'mine', learned: true, points: [[4, 4, 0.5], [8, 8, 0.1]] }] }] });

/** Another workflow in front, which the first one stays open beside. */
function openAnother(first) {
  app.graph = new FakeGraph(`${first.id}, another`);
  app.extensionManager.workflow = { openWorkflows: [first, app.graph].map(({ id }) => ({ activeState: { id } })) };
  afterConfigureGraph();
}

/** The first workflow in front again, which makes its nodes anew. */
function goBack(first) {
  app.graph = new FakeGraph(first.id);
  const made = first.nodes.map((node) => create(node.type, Object.fromEntries(node.widgets
    .filter((widget) => widget.type !== 'art_plot').map((widget) => [widget.name, widget.value])), app.graph, node.id));
  afterConfigureGraph();
  return made;
}

function wire(node, input, type = 'Loader') {
  const from = create(type);
  from.connect(0, node, node.inputs.findIndex((each) => each.name === input));
  node.onConnectionsChange?.();
  return from;
}

test('what nodes of another open workflow tell is kept for those', async () => {
  const [first, place] = [app.graph, (node) => ({ workflow: first.id, node: String(node.id) })];
  const [compare, train, sigmas] = [create('ARTCompare'), create('ARTTrain'),
    create('ARTSigmas', { ...NAMED, schedule_name: 'auto' })];
  openAnother(first);
  const [compare2, train2, sigmas2] = [create('ARTCompare'), create('ARTTrain'),
    create('ARTSigmas', { ...NAMED, schedule_name: 'auto' })];
  compare2.onExecuted(compared(place(compare)));
  train2.onExecuted({ art_train: [message({ ...place(train), run: 70, phase: 'finished', clock, name: 'kept' })] });
  sigmas2.onExecuted({ art_sigmas: [{ name: 'mine', choice: 'auto', sigmas: SIGMAS, ...place(sigmas) }] });
  await settle();
  assert.match(status(compare2), /queue the workflow/);
  assert.match(status(train2), /queue the workflow/);
  assert.match(status(sigmas2), /auto is drawn when/);
  const again = goBack(first);
  await settle();
  assert.equal(status(again[0]), 'error of euler over 4 noises');
  assert.match(status(again[1]), /saved as kept/);
  assert.match(status(again[2]), /^from 80/);
});

test('what a node says is shown when it has run, in its own workflow', async () => {
  const [first, info] = [app.graph, create('ARTScheduleInfo')];
  const words = (node) => plotOf(node).element.textContent;
  const told = (text) => ({ art_told: [{ text, workflow: first.id, node: String(info.id) }] });
  assert.match(words(info), /queue the workflow to read/);
  info.onExecuted(told('Learned on <b>noise</b>.'));
  assert.equal(words(info), 'Learned on <b>noise</b>.');
  openAnother(first);
  const other = create('ARTScheduleInfo');
  other.onExecuted(told('Learned on data.'));
  await settle(20);
  assert.match(words(other), /queue the workflow to read/);
  const [again] = goBack(first);
  await settle(20);
  assert.equal(words(again), 'Learned on data.');
});

test('ART Sigmas says what it took and warns, as long as it is asked for the same', async () => {
  const node = create('ARTSigmas', { ...NAMED, schedule_name: 'auto' });
  const words = () => plotOf(node).element.all('div').find((each) => each.attributes.class === 'art-told').textContent;
  await settle();
  assert.match(words(), /queue the workflow to read/);
  node.onExecuted({ art_sigmas: [{ name: 'mine', sigmas: SIGMAS, text: 'auto took mine.\nWarning: another shift.' }] });
  await settle();
  assert.equal(words(), 'auto took mine.\nWarning: another shift.');
  node.widgets[0].value = 'other';
  node.widgets[0].callback('other');
  await settle();
  assert.match(words(), /queue the workflow to read/);
});

test('what ran under another name than the node has by now is kept for that name', async () => {
  const node = create('ARTSigmas', { ...NAMED, schedule_name: 'auto-clock' });
  const words = () => plotOf(node).element.all('div').find((each) => each.attributes.class === 'art-told').textContent;
  const choose = (name) => {
    node.widgets[0].value = name;
    node.widgets[0].callback(name);
    return settle();
  };
  node.onExecuted({ art_sigmas: [{ name: 'mine', choice: 'auto', sigmas: SIGMAS, text: 'auto took mine.' }] });
  await settle();
  assert.match(words(), /queue the workflow to read/);
  assert.match(status(node), /auto is drawn when/);
  await choose('auto');
  assert.equal(words(), 'auto took mine.');
  assert.match(status(node), /^from 80/);
});

test('a workflow that is saved under a new id shows what the host kept of the first, which stays open', async () => {
  openAnother(app.graph);
  const [compare, train] = [create('ARTCompare'), create('ARTTrain')];
  const first = app.graph.id.split(',')[0];
  const kept = (detail) => api.dispatchEvent(Object.assign(new Event('execution_cached'), { detail }));
  for (const odd of [undefined, {}, { nodes: 'x' }]) kept(odd);
  compare.onExecuted(compared({ workflow: first, node: String(compare.id) }));
  await settle(20);
  assert.match(status(compare), /queue the workflow/, 'it ran behind');
  kept({ nodes: [compare.id, String(train.id)] });
  compare.onExecuted(compared({ workflow: first, node: String(compare.id) }));
  train.onExecuted({ art_train: [message({ workflow: first, node: String(train.id), run: 71, phase: 'finished', clock,
    name: 'kept' })] });
  await settle(20);
  kept({ nodes: [] });
  assert.equal(status(compare), 'error of euler over 4 noises');
  assert.match(status(train), /saved as kept/);
});

test('what comes over a wire is drawn as it ran', async () => {
  for (const [input, given] of [['steps', 'mine'], ['denoise', 'mine'], ['schedule_name', 'other'], ['schedule', null]]) {
    app.graph = new FakeGraph(`place ${workflows += 1}`);
    const node = create('ARTSigmas', NAMED);
    wire(node, input);
    await settle();
    assert.match(status(node), /over a wire/, input);
    assert.ok(plotOf(node).element.all('circle').length < 4);
    node.onExecuted({ art_sigmas: [{ name: given, sigmas: SIGMAS }] });
    await settle();
    assert.equal(status(node), 'as it last ran: from 80 to 1, then 0', input);
    const picture = plotOf(node).element.all('div').find((each) => each.attributes.role === 'application');
    assert.match(picture.attributes['aria-label'], new RegExp(`of ${given ?? 'the connected schedule'}: 4 steps`));
    node.onExecuted({ art_sigmas: [{ name: given, sigmas: [] }] });
    await settle();
    assert.match(status(node), /nothing to draw/);
  }
});

test('where a wire decides, choosing a schedule says so', async () => {
  const use = async (node) => {
    app.canvas.selected_nodes = { 1: node };
    const picked = commands[0].function();
    document.body.all('dialog')[0].all('ul')[0].all('button')[1].dispatchEvent(new Event('click'));
    await picked;
  };
  const named = create('ARTSigmas', NAMED);
  wire(named, 'schedule_name');
  await use(named);
  assert.equal(value(named, 'schedule_name'), 'mine');
  assert.match(host.told[0].detail, /wire at schedule_name decides/);
  const wired = create('ARTSigmas', NAMED);
  wire(wired, 'schedule');
  await use(wired);
  assert.equal(value(wired, 'schedule_name'), 'other');
  assert.match(host.told[1].detail, /wire at schedule decides/);
  const free = create('ARTSigmas', NAMED);
  await use(free);
  assert.deepEqual([value(free, 'schedule_name'), host.told.length], ['other', 3]);
  assert.equal(host.told[2].detail, 'ART Sigmas uses “other” now.');
});

test('browsing without an ART Sigmas says what is missing', async () => {
  const picked = commands[0].function();
  document.body.all('dialog')[0].all('ul')[0].all('button')[0].dispatchEvent(new Event('click'));
  await picked;
  assert.match(host.told[0].detail, /Select an ART Sigmas/);
});

test('a new list is a new object, which the page looks at', async () => {
  const node = create('ARTSigmas', NAMED);
  const before = node.widgets[0].options;
  reconnect();
  await settle();
  assert.notEqual(node.widgets[0].options, before);
  assert.deepEqual(node.widgets[0].options.values, ['mine', 'other']);
});

test('a training that the host no longer knows has ended', async () => {
  const [gone, kept, over] = [create('ARTTrain'), create('ARTTrain'), create('ARTTrain')];
  const told = (node, run) => message({ node: String(node.id), workflow: app.graph.id, run, done: 2 });
  [[gone, 80], [kept, 81]].forEach(([node, run]) => send(told(node, run)));
  over.onExecuted({ art_train: [{ ...told(over, 79), phase: 'finished', clock, name: 'done' }] });
  host.answers['/art/live'] = undefined;
  reconnect();
  await settle();
  assert.match(status(gone), /model call 2 of 4/, 'no answer says nothing');
  host.answers['/art/live'] = { runs: [told(kept, 81)] };
  reconnect();
  await settle();
  assert.match(status(gone), /stopped, nothing was saved/);
  assert.match(status(kept), /model call 2 of 4/);
  assert.match(status(over), /saved as done/);
});

test('messages of other trainings ask the server for nothing', async () => {
  const [train, other, sigmas] = [create('ARTTrain'), create('ARTTrain'), create('ARTSigmas', NAMED)];
  train.connect(0, sigmas, sigmas.inputs.findIndex((each) => each.name === 'schedule'));
  const told = (node, changes) => message({ node: String(node.id), workflow: app.graph.id, ...changes });
  send(told(train, { run: 90, phase: 'finished', clock, name: 'mine' }));
  await settle();
  const before = ladders();
  for (let number = 1; number < 6; number += 1) {
    send(told(other, { run: 91, number, phase: 'learning', clock }));
    await settle(100);
  }
  assert.equal(ladders(), before);
  send(told(train, { run: 92, phase: 'finished', clock, name: 'other' }));
  await settle();
  assert.equal(ladders(), before + 1);
});

test('a schedule that comes from a muted or bypassed node is not what will be read', async () => {
  const [train, sigmas] = [create('ARTTrain'), create('ARTSigmas', NAMED)];
  train.connect(0, sigmas, sigmas.inputs.findIndex((each) => each.name === 'schedule'));
  train.outputs[0].type = 'ART_SCHEDULE';
  const text = async () => {
    sigmas.onConnectionsChange();
    await settle();
    return plotOf(sigmas).element.textContent;
  };
  const drawn = [];
  for (const mode of [0, 2, 4]) {
    train.mode = mode;
    drawn.push(/what comes over a wire is drawn when it has run/.test(await text()));
  }
  assert.deepEqual(drawn, [true, false, false]);
  // What a bypassed node is given of that type it hands on; a socket alone is nothing.
  const [loader, input] = [create('Loader'), train.inputs.find((each) => each.name === 'name')];
  input.type = 'ART_SCHEDULE';
  assert.doesNotMatch(await text(), /what comes over a wire/);
  loader.connect(0, train, train.inputs.indexOf(input));
  assert.match(await text(), /what comes over a wire/);
});

/** A KSampler in a subgraph whose sides have ids of the newer kind, texts. */
function inSubgraph() {
  const inner = new FakeGraph('inner');
  const outside = { comfyClass: 'inner', subgraph: inner,
    properties: { proxyWidgets: [['1', 'seed'], ['1', 'steps'], ['1', 'control_after_generate'], ['7', 'seed']] } };
  // Which is itself in a subgraph that shows the steps.
  const [middle, outmost] = [new FakeGraph('middle'), { comfyClass: 'middle',
    properties: { proxyWidgets: [['40', '1: steps'], ['40', 'mine']] } }];
  outmost.subgraph = middle;
  app.graph.add(outmost, 50);
  middle.add(outside, 40);
  app.graph.subgraphs.set('inner', inner);
  app.graph.subgraphs.set('middle', middle);
  const sampler = create('KSampler', { seed: 5, steps: 9, cfg: 4.5, denoise: 1, sampler_name: 'euler' }, inner);
  const [wires, wire] = [[], (told) => (slot) => wires.push([...told, slot])];
  inner.inputNode = { slots: [0, 1, 2, 3].map((slot) => ({
    connect: (input, node) => wire(['in', node.type, input.name])(slot) })) };
  inner.outputNode = { slots: [{ connect: (_, node) => wire([node.type, 'out'])(0) }] };
  ['model', 'positive', 'negative', 'latent_image'].forEach((name, slot) => {
    inner.links.set(100 + slot, { id: 100 + slot, origin_id: '-10', origin_slot: slot, target_id: sampler.id,
      target_slot: sampler.inputs.findIndex((input) => input.name === name) });
    sampler.inputs.find((input) => input.name === name).link = 100 + slot;
  });
  inner.links.set(104, { id: 104, origin_id: sampler.id, origin_slot: 0, target_id: '-20', target_slot: 0 });
  inner.cut = (id) => inner.links.delete(id);
  return { inner, outside, outmost, sampler, wires };
}

test('in a subgraph every wire to its sides is there again, and what it shows outside', async () => {
  const { inner, outside, outmost, sampler, wires } = inSubgraph();
  await getNodeMenuItems(sampler).find((each) => each.content === 'Use ART sigmas').callback();
  assert.deepEqual(host.told.map((each) => each.severity), ['info']); // and no warning
  assert.deepEqual(wires.sort(), [['SamplerCustom', 'out', 0], ['in', 'ARTSigmas', 'model', 0],
    ['in', 'SamplerCustom', 'latent_image', 3], ['in', 'SamplerCustom', 'model', 0], ['in', 'SamplerCustom', 'negative', 2],
    ['in', 'SamplerCustom', 'positive', 1]]);
  const id = (type) => String(inner.nodes.find((node) => node.type === type).id);
  assert.deepEqual(outside.properties.proxyWidgets, [[id('SamplerCustom'), 'noise_seed'], [id('ARTSigmas'), 'steps'],
    [id('SamplerCustom'), 'control_after_generate'], ['7', 'seed']]);
  assert.deepEqual(outmost.properties.proxyWidgets, [['40', `${id('ARTSigmas')}: steps`], ['40', 'mine']]);
  assert.ok(!inner.nodes.includes(sampler));
});

test('ART Train in a subgraph is wired to its sides', () => {
  const { sampler, wires } = inSubgraph();
  getNodeMenuItems(sampler).find((each) => each.content.startsWith('Learn')).callback();
  assert.deepEqual(wires.map(([, type, name]) => `${type}.${name}`).sort(),
    ['latent_image', 'model', 'negative', 'positive'].map((name) => `ARTTrain.${name}`));
});

test('a change that fails is told, and the sampler stays', async () => {
  const { inner, sampler } = inSubgraph();
  inner.outputNode.slots[0].connect = () => { throw new TypeError('no such output'); };
  await getNodeMenuItems(sampler).find((each) => each.content === 'Use ART sigmas').callback();
  assert.match(host.told[0].detail, /undo takes back/);
  assert.deepEqual(host.events, ['before', 'after']);
  assert.ok(inner.nodes.includes(sampler));
});

test('a sampler that no objective is for is named, and so is what is left to connect', () => {
  const offered = ['end:euler', 'spectrum:dpmpp_2m_sde', 'spectrum:euler_ancestral', 'end:uni_pc'];
  const objectives = { ARTTrain: { nodeData: { input: { required: { objective: [offered, {}] } } } } };
  globalThis.LiteGraph.registered_node_types = objectives;
  const learn = (name) => getNodeMenuItems(create('KSampler', { sampler_name: name }))
    .find((each) => each.content.startsWith('Learn')).callback();
  ['lcm', 'euler', 'dpmpp_2m_sde', 'euler_ancestral', 'uni_pc'].forEach(learn);
  delete globalThis.LiteGraph.registered_node_types;
  assert.match(host.told[0].detail, /no objective for lcm/);
  assert.match(host.told[1].detail, /best for euler.*9 pictures.*make fewer\.$/);
  assert.match(host.told[2].detail, /best for dpmpp_2m_sde.*make fewer\. Connect some encoded pictures.*references\.$/);
  assert.match(host.told[3].detail, /^For euler_ancestral ComfyUI’s own schedules/);
  assert.match(host.told[4].detail, /best for uni_pc.*188 pictures.*make fewer\. With guidance ComfyUI’s own/);
});
