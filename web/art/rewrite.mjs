/**
 * What to add, wire and remove when a sampler node is turned to ART, as a plan on plain data. graph.mjs carries it
 * out on the page. Pure functions, no page.
 */

/**
 * A node of the graph. A source is [node id, output slot], a target [node id, input slot]; ids are the host's.
 * @typedef {{id: string | number, type: string, pos: [number, number], size: [number, number], mode?: number,
 *     look?: {title?: string, color?: string, bgcolor?: string}, widgets: Object<string, unknown>, inputs: Object<string, [string | number, number]>,
 *     outputs: Array<Array<[string | number, number]>>}} PlainNode
 */

/**
 * What to wire is from a key of `add` or an id of the graph; `moved` are widgets, from an id and name to a key and name.
 * @typedef {{add: Array<{key: string, type: string, pos: [number, number], mode?: number,
 *     look?: Object<string, string>, widgets: Object<string, unknown>}>,
 *     connect: Array<{from: [string | number, number], to: string, input: string}>,
 *     outputs: Array<{from: [string, number], to: [string | number, number]}>,
 *     moved: Array<{from: [string | number, string], to: [string, string]}>, remove: Array<string | number>}} Plan
 */

const GAP = 40;
const SELECT_HEIGHT = 90;

/** KSampler's inputs: [node of the chain, its input]; the scheduler's place is taken by the schedule. */
const KSAMPLER = {
  model: [['sample', 'model'], ['sigmas', 'model']],
  positive: [['sample', 'positive']],
  negative: [['sample', 'negative']],
  latent_image: [['sample', 'latent_image']],
  seed: [['sample', 'noise_seed']],
  cfg: [['sample', 'cfg']],
  steps: [['sigmas', 'steps']],
  denoise: [['sigmas', 'denoise']],
  sampler_name: [['sampler', 'sampler_name']],
};
const CONTROL = 'control_after_generate';
const RECORDED = 64; // model calls of an orbit
const MULTISTEP = { orbits: 24, trial_calls: 4096 };
const ADVISED = {
  heun: { orbits: 24 },
  dpmpp_2m: MULTISTEP,
  res_multistep: MULTISTEP,
  deis: MULTISTEP,
  uni_pc: MULTISTEP,
  dpmpp_2m_sde: { orbits: 80 },
  euler_ancestral: { orbits: 80 },
  res_multistep_ancestral: { orbits: 80 },
};
const SAME = { dpmpp_2m_sde_gpu: 'dpmpp_2m_sde' }; // but for where the noise is drawn
const SUITED = {
  heun: 'auto-clock',
  dpmpp_2m: 'auto-dpmpp_2m',
  res_multistep: 'auto-dpmpp_2m',
  deis: 'auto-dpmpp_2m',
  uni_pc: 'auto-dpmpp_2m',
};
const LEARNABLE = ['model', 'positive', 'negative', 'latent_image'];

/** @returns {boolean} whether "Use ART sigmas" is for this type of node */
export function canReplace(type) {
  return type === 'KSampler';
}

/**
 * Whether "Learn a schedule for this model" is for a node: one that samples a latent with a model and two prompts.
 * @param {string[]} inputNames
 * @param {string} type
 * @returns {boolean}
 */
export function canLearn(inputNames, type) {
  return type !== 'ARTTrain' && type !== 'ARTCompare' && LEARNABLE.every((name) => inputNames.includes(name));
}

/**
 * KSampler -> SamplerCustom with KSamplerSelect and ART Sigmas.
 * @param {PlainNode} node
 * @param {string} scheduleName
 * @returns {Plan} the same noise, cfg, steps, sampler and denoise; every wire of the old node
 */
export function replaceKSampler(node, scheduleName) {
  if (!canReplace(node.type)) throw new TypeError(`only a KSampler can be replaced; got ${node.type}`);
  const widgets = { sample: { add_noise: true }, sampler: {}, sigmas: { schedule_name: scheduleName } };
  for (const [name, places] of Object.entries(KSAMPLER)) {
    if (!(name in node.widgets)) continue;
    for (const [key, input] of places) widgets[key][input] = node.widgets[name];
  }
  if (CONTROL in node.widgets) widgets.sample[CONTROL] = node.widgets[CONTROL];
  const [x, y] = node.pos;
  // Below the sampler: what feeds it mostly stands to its left.
  const below = y + node.size[1] + 2 * GAP;
  const added = [
    { key: 'sample', type: 'SamplerCustom', pos: [x, y], look: node.look ?? {} },
    { key: 'sampler', type: 'KSamplerSelect', pos: [x, below] },
    { key: 'sigmas', type: 'ARTSigmas', pos: [x, below + SELECT_HEIGHT + GAP] },
  ];
  return {
    add: added.map((each) => ({ ...each, widgets: widgets[each.key], ...withMode(node) })),
    connect: [...wires(node), { from: ['sampler', 0], to: 'sample', input: 'sampler' },
      { from: ['sigmas', 0], to: 'sample', input: 'sigmas' }],
    outputs: (node.outputs[0] ?? []).map((target) => ({ from: ['sample', 0], to: target })),
    moved: [...Object.entries(KSAMPLER), [CONTROL, [['sample', CONTROL]]]]
      .map(([name, places]) => ({ from: [node.id, name], to: places[0] })),
    remove: [node.id],
  };
}

function wires(node) {
  return Object.entries(KSAMPLER).flatMap(([name, places]) => {
    const source = node.inputs[name];
    return source ? places.map(([key, input]) => ({ from: source, to: key, input })) : [];
  });
}

/** Bypassed or muted stays bypassed or muted. */
function withMode(node) {
  return node.mode ? { mode: node.mode } : {};
}

/**
 * ART Train beside a sampler, wired to the same model, conditionings and latent.
 * @param {PlainNode} node
 * @param {string} name proposed for the schedule
 * @param {Record<string, string | number>} settings from `settingsFor`; {} leaves ART Train's own
 * @returns {Plan}
 */
export function addTrain(node, name, settings = {}) {
  const widgets = { name, ...settings };
  if (typeof node.widgets.cfg === 'number') widgets.cfg = node.widgets.cfg;
  const { steps, denoise } = node.widgets;
  // Of so many steps the last ones are sampled, and a schedule is read at so many.
  if (Number.isInteger(steps)) widgets.steps = denoise > 0 && denoise < 1 ? Math.trunc(steps / denoise) : steps;
  return {
    add: [{ key: 'train', type: 'ARTTrain', pos: [node.pos[0], node.pos[1] + node.size[1] + 2 * GAP], widgets }],
    connect: [...LEARNABLE, 'cfg'].filter((input) => node.inputs[input])
      .map((input) => ({ from: node.inputs[input], to: 'train', input })),
    outputs: [],
    moved: [],
    remove: [],
  };
}

/**
 * The sampler that a node samples with: its own, or that of the node wired to its `sampler`.
 * @param {(id: string | number) => PlainNode | null} nodeOf
 * @param {PlainNode} node
 * @returns {string | null} null where no widget says it
 */
export function findSampler(nodeOf, node) {
  const from = node.inputs.sampler ? nodeOf(node.inputs.sampler[0]) : node;
  const given = from?.inputs.sampler_name ? valueNode(nodeOf, from.inputs.sampler_name[0])?.widgets.value
    : from?.widgets.sampler_name;
  return typeof given === 'string' ? given : null;
}

/** The node at the start of a wire that holds a value and nothing else, through nodes that only pass it on. */
function valueNode(nodeOf, id) {
  const found = nodeOf(id);
  if (found?.type !== 'Reroute') return found?.type === 'PrimitiveNode' ? found : null;
  const [source] = Object.values(found.inputs);
  return source ? valueNode(nodeOf, source[0]) : null;
}

/**
 * What to learn for a sampler: the error where it ends, or, where it adds noise, how sharp its pictures come out; and
 * with how many orbits and trials that was found to pay (README, "Which objective?").
 * @param {string | null} sampler
 * @param {string[]} objectives that ART Train offers
 * @returns {Record<string, string | number>} widgets of ART Train; {} if no objective is for this sampler
 */
export function settingsFor(sampler, objectives) {
  const known = SAME[sampler] ?? sampler;
  const offered = ['end', 'spectrum'].map((kind) => `${kind}:${known}`).find((each) => objectives.includes(each));
  return offered ? { objective: offered, ...ADVISED[known] } : {};
}

/** About how many pictures of 30 steps make as many model calls as learning. */
export function picturesOf({ orbits = 4, trial_calls: trials = 0 }) {
  return Math.round((orbits * RECORDED + trials) / 30);
}

/**
 * The choice of ART Sigmas for a sampler: of the family's schedules the one that did best with it (docs/results.md).
 * @param {string | null} sampler
 * @param {string[]} choices that ART Sigmas offers
 */
export function autoFor(sampler, choices) {
  const choice = SUITED[sampler];
  return choices.includes(choice) ? choice : 'auto';
}

/**
 * The checkpoint that a model comes from: the first loader up the model's wires.
 * @param {(id: string | number) => PlainNode | null} nodeOf
 * @param {PlainNode} node
 * @returns {string | null} its file name as the widget has it
 */
export function findCheckpoint(nodeOf, node) {
  const seen = new Set();
  const waiting = node.inputs.model ? [node.inputs.model[0]] : [];
  while (waiting.length) {
    const id = waiting.shift();
    const found = seen.has(String(id)) ? null : nodeOf(id);
    seen.add(String(id));
    if (!found) continue;
    for (const widget of ['ckpt_name', 'unet_name', 'model_name', 'gguf_name']) {
      if (typeof found.widgets[widget] === 'string') return found.widgets[widget];
    }
    // A LoRA or a shift passes its model on; other inputs lead elsewhere.
    const [model] = found.inputs.model ?? Object.values(found.inputs)[0] ?? [];
    if (model !== undefined) waiting.push(model);
  }
  return null;
}

/**
 * A name that ART Train takes, from a checkpoint's file name.
 * @param {string | null} file "SDXL/juggernaut XL.safetensors"
 * @returns {string} 1 to 60 of A-Z, a-z, 0-9, ".", "_" and "-", the first a letter or digit
 */
export function proposeName(file) {
  const base = String(file ?? '').split(/[\\/]/).pop().replace(/(\.(safetensors|ckpt|pt|pth|bin|gguf|sft))+$/i, '');
  const name = base.replace(/[^A-Za-z0-9._-]+/g, '_').replace(/^[^A-Za-z0-9]+/, '').slice(0, 60).replace(/[._-]+$/, '');
  // Windows opens a device under these names, whatever follows the first dot.
  if (/^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)/i.test(name)) return `my_${name}`;
  return name || 'my_schedule';
}
