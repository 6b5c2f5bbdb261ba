import assert from 'node:assert/strict';
import test, { beforeEach } from 'node:test';

import { api, app, body, create, FakeGraph, FakeNode, host, message, plotOf, reconnect, send,
  settle } from './fake_page.mjs';

const HOSTILE = '<img src=x onerror=alert(1)>';
const clock = Array.from({ length: 17 }, (_, i) => 80 * (1 - i / 16) ** 3);
const summaries = [{ name: 'demo-edm', origin: 'bundled', sigma_max: 80 },
  { name: 'mine', origin: 'trained', date: '2026-11-23', sigma_max: 80 },
  { name: HOSTILE, origin: 'trained', curve: clock }];
await import('../../web/art.js');
const { tell } = await import('../../web/art/host.mjs');
const { setup, nodeCreated, getNodeMenuItems, commands } = host.extension;
host.answers = { '/art/schedules': { schedules: summaries }, '/art/live': { runs: [] },
  '/art/schedule': { name: 'mine', clock, grids: {}, provenance: { model: HOSTILE, seed: 3 } },
  '/art/ladders': { ladders: { karras: [80, 20, 5, 1, 0], normal: [80, 30, 8, 2, 0] } } };
setup();
await settle();

beforeEach(() => {
  app.graph = new FakeGraph();
  app.canvas.selected_nodes = {};
  Object.assign(host, { events: [], told: [], asked: [] });
});

const value = (node, name) => node.widgets.find((widget) => widget.name === name).value;

test('a plot is no part of the workflow and is gone with its node', async () => {
  const node = create('ARTSigmas', { schedule_name: 'mine', steps: 4, denoise: 1 });
  const widget = plotOf(node);
  assert.deepEqual([widget.serialize, widget.options.serialize], [false, false]);
  nodeCreated(node);
  assert.equal(node.widgets.filter((each) => each.type === 'art_plot').length, 1);
  app.graph.remove(node);
  node.onConfigure();
  await settle();
  assert.deepEqual(host.asked, []);
});

test('other nodes are left alone', () => {
  const node = create('KSampler');
  assert.equal(plotOf(node), undefined);
  nodeCreated({ comfyClass: '__proto__', widgets: [] });
  nodeCreated({});
});

test('ART Sigmas is drawn without queueing, and again when a widget changes', async () => {
  const node = create('ARTSigmas', { schedule_name: 'mine', steps: 4, denoise: 1 });
  await settle();
  const { element } = plotOf(node);
  assert.equal(element.all('circle').length, 3 * 4 + 1);
  const picture = element.all('div').find((each) => each.attributes.role === 'application');
  assert.match(picture.attributes['aria-label'], /mine: 4 steps from 80/);
  const steps = node.widgets.find((widget) => widget.name === 'steps');
  steps.value = 7;
  steps.callback(7);
  await settle();
  assert.match(picture.attributes['aria-label'], /7 steps/);
  assert.ok(host.asked.includes('/art/ladders?name=mine&steps=7&denoise=1'));
});

test('a node whose source was muted is drawn anew', async () => {
  const node = create('ARTSigmas', { schedule_name: 'mine', steps: 4, denoise: 1 });
  await settle();
  host.asked = [];
  node.widgets.find((widget) => widget.name === 'steps').value = 5;
  api.dispatchEvent(new Event('graphChanged'));
  await settle();
  assert.ok(host.asked.includes('/art/ladders?name=mine&steps=5&denoise=1'));
  host.asked = [];
  api.dispatchEvent(new Event('graphChanged'));
  await settle();
  assert.deepEqual(host.asked, [], 'another change is no reason to ask again');
});

test('a file that was copied in is a choice after the host has read its lists anew', async () => {
  const node = create('ARTSigmas', { schedule_name: 'mine', steps: 4, denoise: 1 });
  host.answers['/art/schedules'] = { schedules: [...summaries, { name: 'copied', origin: 'trained' }] };
  await host.extension.refreshComboInNodes();
  const offered = [node, create('ARTSigmas')].map((each) => each.widgets[0].options.values.includes('copied'));
  assert.deepEqual(offered, [true, true]);
  host.answers['/art/schedules'] = { schedules: summaries };
  await host.extension.refreshComboInNodes();
});

test('a new node has its full height at once, which is then no step of undo of its own', () => {
  const node = Object.assign(new FakeNode('ARTSigmas'), { computeSize: () => [210, 488] });
  node.setSize = (size) => { node.size = size; };
  nodeCreated(node);
  assert.deepEqual(node.size, [330, 488]);
});

test('a long message stays longer', () => {
  tell('info', 'x'.repeat(300));
  tell('info', 'short');
  assert.deepEqual(host.told.map((each) => each.life), [21000, 6000]);
});

test('auto stays a choice when the list is read anew, and what it took is drawn', async () => {
  const node = create('ARTSigmas', { schedule_name: 'auto', steps: 4, denoise: 1 });
  const [widget] = node.widgets;
  widget.options.values = ['auto', 'auto-clock', 'old'];
  reconnect();
  await settle();
  assert.deepEqual(widget.options.values, ['auto', 'auto-clock', ...summaries.map((each) => each.name)]);
  assert.equal(widget.value, 'auto');
  assert.match(widget.options.getOptionLabel('auto-clock'), /^auto-clock — .*Heun/);
  const { element } = plotOf(node);
  assert.match(element.textContent, /auto is drawn when it has run/);
  host.asked = [];
  node.onExecuted({ art_sigmas: [{ name: 'mine' }] });
  await settle();
  assert.equal(element.all('circle').length, 3 * 4 + 1);
  assert.ok(host.asked.includes('/art/ladders?name=mine&steps=4&denoise=1'));
  // Wired to something else, it is not known what auto will take; wired as before, it is.
  create('Loader').connect(0, node, node.inputs.findIndex((input) => input.name === 'model'));
  node.onConnectionsChange();
  await settle();
  assert.match(element.textContent, /auto is drawn when it has run/);
  [...app.graph.links.keys()].forEach((id) => app.graph.cut(id));
  node.onConnectionsChange();
  await settle();
  assert.equal(element.all('circle').length, 3 * 4 + 1);
  // What was chosen by name says nothing of auto.
  widget.value = 'demo-edm';
  node.onExecuted({ art_sigmas: [{ name: 'demo-edm' }] });
  widget.value = 'auto';
  node.onConfigure();
  await settle();
  assert.match(element.textContent, /auto is drawn when it has run/);
});

test('a new node takes the place of the plot of an earlier one with its id', async () => {
  const [old, stranger] = [create('ARTSigmas'), create('ARTTrain')];
  const places = [old, stranger].map((node) => {
    const place = document.createElement('div');
    place.append(plotOf(node).element);
    body.append(place);
    return place;
  });
  app.graph.remove(old);
  const next = create('ARTSigmas');
  assert.equal(next.id, 2 + 1, 'the ids here are not used again by themselves');
  await settle(20);
  assert.ok(!plotOf(next).element.isConnected);
  app.graph.remove(next);
  const same = create('ARTTrain', {}, app.graph, old.id);
  await settle(20);
  assert.deepEqual(places.map((place) => place.children.length), [1, 1]);
  assert.ok(places[0].children[0] === plotOf(same).element && places[1].children[0] === plotOf(stranger).element);
  places.forEach((place) => place.remove());
});

test('foreign names are text, and harmless in the menu of the host', async () => {
  host.answers['/art/schedule'].name = HOSTILE;
  const node = create('ARTSigmas', { schedule_name: HOSTILE, steps: 4, denoise: 1 });
  await settle();
  const { element } = plotOf(node);
  assert.ok(element.textContent.includes('<img src'));
  assert.equal(element.all('img').length, 0);
  const { options } = node.widgets[0];
  assert.deepEqual(options.values, summaries.map((each) => each.name));
  assert.doesNotMatch(options.getOptionLabel(HOSTILE), /[<>&]/);
  assert.match(options.getOptionLabel('mine'), /^mine — trained here · 2026-11-23 · from sigma 80$/);
});

test('the keys read the plot and do not reach the canvas', async () => {
  const node = create('ARTSigmas', { schedule_name: 'mine', steps: 4, denoise: 1 });
  await settle();
  const all = plotOf(node).element.all('div');
  const [picture, readout] = [all.find((each) => each.attributes.role === 'application'),
    all.find((each) => each.attributes.class === 'art-readout')];
  const said = all.find((each) => each.attributes['aria-live'] === 'polite');
  const press = (key) => {
    const event = Object.assign(new Event('keydown', { cancelable: true }), { key });
    picture.dispatchEvent(event);
    return event.defaultPrevented;
  };
  assert.ok(press('ArrowRight') && press('ArrowRight'));
  assert.match(readout.textContent, /^step 1 of 4: sigma /);
  assert.equal(said.textContent, readout.textContent);
  for (let i = 0; i < 9; i += 1) press('ArrowRight');
  assert.match(readout.textContent, /^step 4 of 4: sigma 0, 100 % of the clock/);
  assert.ok(!press('Enter'));
  picture.dispatchEvent(Object.assign(new Event('pointermove'), { clientX: 50, clientY: 100 }));
  assert.match(readout.textContent, /^step 0 of 4/);
  assert.match(said.textContent, /^step 4 of 4/, 'the mouse is not read out');
  picture.dispatchEvent(new Event('pointerleave'));
  assert.equal(readout.textContent, '');
});

test('while a plot has the focus it says how to read it, and keeps its name', async () => {
  const node = create('ARTSigmas', { schedule_name: 'mine', steps: 4, denoise: 1 });
  await settle();
  const all = plotOf(node).element.all('div');
  const [picture, readout] = ['art-picture', 'art-readout'].map((name) => all.find((each) => each.attributes.class === name));
  picture.dispatchEvent(new Event('focus'));
  const steps = node.widgets.find((widget) => widget.name === 'steps');
  steps.value = 7;
  steps.callback(7);
  await settle();
  assert.match(readout.textContent, /arrow keys/);
  assert.match(picture.attributes['aria-label'], /4 steps/, 'or it would be read out each time');
  picture.dispatchEvent(new Event('blur'));
  steps.callback(7);
  await settle();
  assert.equal(readout.textContent, '');
  assert.match(picture.attributes['aria-label'], /7 steps/);
});

test('a training is drawn where it belongs, is announced once, and its schedule is used on a click', async () => {
  const [train, other] = [create('ARTTrain'), create('ARTTrain')];
  const sigmas = create('ARTSigmas', { schedule_name: 'demo-edm', steps: 4, denoise: 1 });
  const status = (node) => plotOf(node).element.all('div')[0].textContent;
  send(message({ run: 10 }));
  await settle(20);
  assert.match(status(train), /recording, model call 1 of 4/);
  assert.match(status(other), /queue the workflow/);
  const learned = { run: 10, phase: 'learning', start: clock, clock, costs: [[1, 1.2]], iterations: 5 };
  send(message({ ...learned, number: 2 }));
  send(message({ ...learned, number: 3, phase: 'finished', name: 'mine' }));
  send(message({ ...learned, number: 3, phase: 'finished', name: 'mine' }));
  await settle();
  assert.match(status(train), /saved as mine · cost 1.2 of the optimum/);
  const toasts = body.all('div').filter((each) => each.attributes.class === 'art-toast');
  assert.equal(toasts.length, 1);
  assert.match(toasts[0].textContent, /Schedule saved as “mine”/);
  toasts[0].all('button')[0].dispatchEvent(new Event('click'));
  assert.equal(value(sigmas, 'schedule_name'), 'mine');
  assert.deepEqual(host.events, ['before', 'after']);
  assert.equal(body.all('div').filter((each) => each.attributes.class === 'art-toast').length, 0);
});

test('messages of another workflow, and what is no message', async () => {
  const train = create('ARTTrain');
  for (const bad of [null, 3, {}, message({ workflow: 'elsewhere', run: 99 })]) send(bad);
  await settle(20);
  assert.match(plotOf(train).element.all('div')[0].textContent, /saved as mine|queue the workflow/);
});

test('a reload in the middle: what the server remembers is drawn, and not announced', async () => {
  const train = create('ARTTrain');
  host.answers['/art/live'] = { runs: [message({ run: 20, phase: 'finished', name: 'old', number: 9 }),
    message({ run: 30, phase: 'learning', clock, start: clock, costs: [[1, 1.3]], number: 4, node: '1' })] };
  reconnect();
  await settle();
  assert.match(plotOf(train).element.all('div')[0].textContent, /learning/);
  assert.equal(body.all('div').filter((each) => each.attributes.class === 'art-toast').length, 0);
  assert.ok(host.asked.includes('/art/live?client=tab'));
});

test('a node inside a subgraph, used twice', async () => {
  const inner = new FakeGraph('inner');
  for (const id of [12, 13]) app.graph.add({ comfyClass: 'inner', subgraph: inner }, id);
  app.graph.subgraphs.set('inner', inner);
  const train = create('ARTTrain', {}, inner);
  send(message({ node: `13:${train.id}`, run: 40, done: 3 }));
  await settle(20);
  assert.match(plotOf(train).element.all('div')[0].textContent, /model call 3 of 4/);
});

test('the output of a node is drawn when it was cached', async () => {
  const node = create('ARTTrain');
  const record = message({ run: 50, phase: 'finished', clock, start: clock, name: 'kept', number: 7 });
  node.onExecuted({ art_train: [record] });
  await settle(20);
  assert.match(plotOf(node).element.all('div')[0].textContent, /saved as kept/);
  for (const bad of [undefined, {}, { art_train: 'x' }, { art_train: [null] }]) node.onExecuted(bad);
});

function wired() {
  const loader = create('Loader', { ckpt_name: 'SDXL/base model.safetensors' });
  const sampler = create('KSampler', { seed: 5, control_after_generate: 'fixed', steps: 9, cfg: 4.5,
    sampler_name: 'heun', scheduler: 'karras', denoise: 0.7 });
  const save = create('Save');
  for (const [slot, name] of [[0, 'model'], [1, 'positive'], [1, 'negative'], [2, 'latent_image']]) {
    loader.connect(slot, sampler, sampler.inputs.findIndex((input) => input.name === name));
  }
  sampler.connect(0, save, 0);
  return sampler;
}

test('"Use ART sigmas" on the graph: one step of undo, every wire and value', async () => {
  const sampler = wired();
  const item = getNodeMenuItems(sampler).find((each) => each.content === 'Use ART sigmas');
  await item.callback();
  await settle();
  assert.deepEqual(host.events, ['before', 'after']);
  assert.deepEqual(app.graph.nodes.map((node) => node.type).sort(),
    ['ARTSigmas', 'KSamplerSelect', 'Loader', 'SamplerCustom', 'Save']);
  assert.deepEqual(app.graph.wires(), ['ARTSigmas.0 > SamplerCustom.sigmas', 'KSamplerSelect.0 > SamplerCustom.sampler',
    'Loader.0 > ARTSigmas.model', 'Loader.0 > SamplerCustom.model', 'Loader.1 > SamplerCustom.negative',
    'Loader.1 > SamplerCustom.positive', 'Loader.2 > SamplerCustom.latent_image', 'SamplerCustom.0 > Save.samples']);
  const find = (type) => app.graph.nodes.find((node) => node.type === type);
  assert.deepEqual(['noise_seed', 'control_after_generate', 'cfg', 'add_noise'].map((name) => (
    value(find('SamplerCustom'), name))), [5, 'fixed', 4.5, true]);
  assert.deepEqual(['schedule_name', 'steps', 'denoise'].map((name) => value(find('ARTSigmas'), name)),
    ['auto', 9, 0.7]);
  assert.equal(value(find('KSamplerSelect'), 'sampler_name'), 'heun');
  assert.match(host.told[0].detail, /takes the bundled schedule \(auto\)\. .*may be better or worse/);
});

test('"Use ART sigmas" where there is no schedule that can be read: nothing is changed', async () => {
  const sampler = wired();
  const use = () => getNodeMenuItems(sampler).find((each) => each.content === 'Use ART sigmas').callback();
  host.answers['/art/schedules'] = { schedules: [{ name: 'mine', error: 'no clock' }] };
  reconnect();
  await settle();
  const before = app.graph.wires();
  await use();
  host.answers['/art/schedules'] = { schedules: summaries };
  reconnect();
  await settle();
  assert.deepEqual([app.graph.wires(), host.events, host.told.length], [before, [], 1]);
});

test('"Learn a schedule for this model" on the graph', () => {
  const sampler = wired();
  getNodeMenuItems(sampler).find((each) => each.content.startsWith('Learn')).callback();
  const train = app.graph.nodes.find((node) => node.type === 'ARTTrain');
  assert.deepEqual(['name', 'cfg', 'steps'].map((name) => value(train, name)), ['base_model', 4.5, 12]);
  assert.equal(app.graph.wires().filter((wire) => wire.includes('> ARTTrain.')).length, 4);
  assert.ok(app.graph.nodes.includes(sampler));
  assert.deepEqual([getNodeMenuItems(train), getNodeMenuItems({}), getNodeMenuItems(create('Save'))], [[], [], []]);
});

test('the seed of a new node of ours stays; what a workflow says comes after that', () => {
  const [train, sampler] = ['ARTTrain', 'KSampler'].map((type) => create(type));
  assert.deepEqual([train, sampler].map((node) => value(node, 'control_after_generate')), ['fixed', null]);
  assert.equal(value(create('ARTTrain', { control_after_generate: 'randomize' }), 'control_after_generate'), 'randomize');
});

test('what a sampler is best served with is set, and what it costs is told', async () => {
  globalThis.LiteGraph.registered_node_types = {
    ARTTrain: { nodeData: { input: { required: { objective: [['end:euler', 'end:heun'], {}] } } } },
    ARTSigmas: { nodeData: { input: { required: { schedule_name: ['COMBO', { options: ['auto', 'auto-clock'] }] } } } },
  };
  const items = getNodeMenuItems(wired());
  items.find((each) => each.content.startsWith('Learn')).callback();
  const train = app.graph.nodes.find((node) => node.type === 'ARTTrain');
  assert.deepEqual(['objective', 'orbits'].map((name) => value(train, name)), ['end:heun', 24]);
  assert.match(host.told[0].detail, /best for heun.*51 pictures/);
  await items.find((each) => each.content === 'Use ART sigmas').callback();
  delete globalThis.LiteGraph.registered_node_types;
  assert.equal(value(app.graph.nodes.find((node) => node.type === 'ARTSigmas'), 'schedule_name'), 'auto-clock');
});

test('a host without a node type: nothing is changed', async () => {
  const sampler = wired();
  const { createNode } = globalThis.LiteGraph;
  globalThis.LiteGraph.createNode = (type) => (type === 'KSamplerSelect' ? null : createNode(type));
  const before = app.graph.wires();
  await getNodeMenuItems(sampler).find((each) => each.content === 'Use ART sigmas').callback();
  globalThis.LiteGraph.createNode = createNode;
  assert.deepEqual([app.graph.wires(), host.events, host.told.length], [before, [], 1]);
});
