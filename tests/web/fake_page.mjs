/**
 * As much of a page and of the host as the modules touch, for tests without a browser.
 * Importing this makes `document` and the like, and answers the two imports of the host.
 */

import { register } from 'node:module';

const HOOK = `export function resolve(name, context, next) {
  const host = /scripts\\/(app|api)\\.js$/.exec(name);
  return host ? { shortCircuit: true, url: 'data:text/javascript,export const ' + host[1]
    + ' = globalThis.fakeHost.' + host[1] } : next(name, context);
}`;
register(`data:text/javascript,${encodeURIComponent(HOOK)}`, import.meta.url);

class FakeElement extends EventTarget {
  constructor(tag) {
    super();
    Object.assign(this, { tag, attributes: {}, children: [], style: {}, parent: null, value: '' });
    Object.assign(this, { offsetWidth: 480, offsetHeight: 200 });
    this.classList = { toggle: () => {}, add: () => {} };
  }
  addEventListener(type, listener, options) {
    // Node lets a passive listener prevent what browsers do not.
    const passive = (event) => listener(Object.assign(event, { preventDefault: () => {} }));
    super.addEventListener(type, options?.passive ? passive : listener, options);
  }
  setAttribute(name, value) { this.attributes[name] = value; }
  getAttribute(name) { return this.attributes[name] ?? null; }
  append(...children) {
    for (const child of children) {
      if (child instanceof FakeElement) child.parent = this;
      this.children.push(child);
    }
  }
  replaceChildren(...children) {
    this.children = [];
    this.append(...children);
  }
  remove() {
    if (this.parent) this.parent.children = this.parent.children.filter((child) => child !== this);
    this.parent = null;
  }
  replaceWith(element) {
    this.parent.children = this.parent.children.map((child) => (child === this ? element : child));
    Object.assign(element, { parent: this.parent });
    this.parent = null;
  }
  get isConnected() { return this === body || Boolean(this.parent?.isConnected); }
  focus() { document.activeElement = this; }
  select() {}
  showModal() { this.open = true; }
  close() {
    this.open = false;
    this.dispatchEvent(new Event('close'));
  }
  getBoundingClientRect() { return { left: 0, top: 0, width: this.offsetWidth, height: this.offsetHeight }; }
  get textContent() { return this.children.map((child) => child.textContent ?? child).join(''); }
  set textContent(text) { this.children = text ? [text] : []; }
  /** All elements below with a tag, in order. */
  all(tag) {
    const own = this.children.filter((child) => child instanceof FakeElement);
    return own.flatMap((child) => [...(child.tag === tag ? [child] : []), ...child.all(tag)]);
  }
}

export const body = new FakeElement('body');
globalThis.document = {
  body, head: new FakeElement('head'),
  createElement: (tag) => new FakeElement(tag), createElementNS: (_, tag) => new FakeElement(tag),
  querySelector: () => null,
  querySelectorAll: (selector) => ['div', 'dialog'].flatMap((tag) => body.all(tag))
    .filter((element) => element.attributes.class === selector.slice(1)),
};
globalThis.CSS = { escape: (text) => text };
globalThis.matchMedia = () => ({ matches: true });
globalThis.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 0);
globalThis.cancelAnimationFrame = clearTimeout;
globalThis.LiteGraph = { createNode: (type) => (TYPES[type] ? new FakeNode(type) : null) };

/** The inputs of the node types in the tests, and how many outputs they have. */
const SAMPLED = 'cfg positive negative latent_image control_after_generate';
const TYPES = {
  KSampler: [`model seed steps sampler_name scheduler denoise ${SAMPLED}`, 1],
  SamplerCustom: [`model add_noise noise_seed sampler sigmas ${SAMPLED}`, 2],
  KSamplerSelect: ['sampler_name', 1],
  ARTSigmas: ['schedule_name steps denoise schedule model', 1],
  ARTCompare: ['model schedules', 3],
  ARTScheduleInfo: ['schedule_name steps schedule', 2],
  ARTTrain: ['model positive negative latent_image cfg seed control_after_generate steps name objective orbits trial_calls', 4],
  Loader: ['ckpt_name', 3],
  Save: ['samples', 0],
};

export class FakeNode {
  constructor(type) {
    const [names, outputs] = TYPES[type];
    Object.assign(this, { type, comfyClass: type, pos: [0, 0], size: [300, 200], mode: 0, graph: null });
    this.inputs = names.split(' ').map((name) => ({ name, link: null }));
    this.widgets = names.split(' ').map((name) => ({ name, type: 'number', value: null, options: {} }));
    this.outputs = Array.from({ length: outputs }, () => ({ links: [] }));
  }
  connect(slot, target, index) {
    const old = target.inputs[index].link;
    if (old !== null) this.graph.cut(old);
    const id = (this.graph.last += 1);
    this.graph.links.set(id, { id, origin_id: this.id, origin_slot: slot, target_id: target.id, target_slot: index });
    this.outputs[slot].links.push(id);
    target.inputs[index].link = id;
  }
  getInputNode(index) {
    // As newer front ends do.
    if (!this.graph) throw new TypeError('this node is in no graph');
    return this.graph.getNodeById(this.graph.links.get(this.inputs[index].link)?.origin_id) ?? null;
  }
  addDOMWidget(name, type, element, options) {
    this.widgets.push({ name, type, element, options });
    return this.widgets.at(-1);
  }
}

export class FakeGraph {
  constructor(id = 'flow') {
    Object.assign(this, { id, nodes: [], links: new Map(), last: 0, subgraphs: new Map() });
  }
  add(node, id = this.nodes.length + 1) {
    while (this.getNodeById(id)) id += 1;
    Object.assign(node, { id, graph: this });
    this.nodes.push(node);
    return node;
  }
  getNodeById(id) { return this.nodes.find((node) => String(node.id) === String(id)); }
  cut(id) {
    const link = this.links.get(id);
    this.links.delete(id);
    const output = this.getNodeById(link.origin_id).outputs[link.origin_slot];
    output.links = output.links.filter((each) => each !== id);
    this.getNodeById(link.target_id).inputs[link.target_slot].link = null;
  }
  remove(node) {
    [...this.links.values()].filter((link) => [link.origin_id, link.target_id].includes(node.id))
      .forEach((link) => this.cut(link.id));
    this.nodes = this.nodes.filter((each) => each !== node);
    node.onRemoved?.();
    node.graph = null;
  }
  /** "Loader.0 > SamplerCustom.model" of every wire. */
  wires() {
    return [...this.links.values()].map((link) => {
      const [from, to] = [this.getNodeById(link.origin_id), this.getNodeById(link.target_id)];
      return `${from.type}.${link.origin_slot} > ${to.type}.${to.inputs[link.target_slot].name}`;
    }).sort();
  }
}

export const host = { events: [], answers: {}, told: [], asked: [] };
export const api = Object.assign(new EventTarget(), {
  clientId: 'tab',
  fetchApi: async (path) => {
    host.asked.push(path);
    const answer = host.answers[path] ?? host.answers[path.split('?')[0]];
    return { ok: answer !== undefined, json: async () => structuredClone(answer) };
  },
});
export const app = {
  graph: new FakeGraph(),
  canvas: { selected_nodes: {}, emitBeforeChange: () => host.events.push('before'),
    emitAfterChange: () => host.events.push('after'), setDirty: () => {} },
  extensionManager: { toast: { add: (message) => host.told.push(message) }, setting: { get: () => undefined },
    registerSidebarTab: (tab) => { host.tab = tab; } },
  registerExtension: (extension) => { host.extension = extension; },
};
globalThis.fakeHost = { api, app };

/** A node of the graph, as one that is read from a workflow. */
export function create(type, values = {}, graph = app.graph, id = undefined) {
  const node = new FakeNode(type);
  host.extension.nodeCreated(node);
  graph.add(node, id);
  for (const [name, value] of Object.entries(values)) node.widgets.find((each) => each.name === name).value = value;
  node.onAdded?.();
  node.onConfigure?.();
  return node;
}

/** What the server tells of a training of node 1. */
export function message(changes) {
  return { node: '1', run: 1, number: 1, workflow: 'flow', phase: 'recording', done: 1, total: 4, calls: 1, seconds: 1,
    left: 3, start: [], clock: [], costs: [], name: null, ...changes };
}

export const plotOf = (node) => node.widgets.find((widget) => widget.type === 'art_plot');

/** Have the page read its list anew, as after a restart of the server. */
export function reconnect() {
  api.dispatchEvent(new Event('reconnected'));
}

/** Send a message as the server does. */
export function send(detail) {
  api.dispatchEvent(Object.assign(new Event('art.train'), { detail }));
}

/** Let what is under way come to its end. */
export const settle = (ms = 300) => new Promise((done) => { setTimeout(done, ms); });
