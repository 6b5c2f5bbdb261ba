import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import {
  addTrain, autoFor, canLearn, canReplace, findCheckpoint, findSampler, picturesOf, proposeName, replaceKSampler,
  settingsFor,
} from '../../web/art/rewrite.mjs';

function ksampler(changes = {}) {
  return {
    id: 3, type: 'KSampler', pos: [1000, 200], size: [315, 262],
    widgets: { seed: 42, control_after_generate: 'randomize', steps: 13, cfg: 6.5, sampler_name: 'dpmpp_2m',
      scheduler: 'karras', denoise: 0.6 },
    inputs: { model: [4, 0], positive: [6, 0], negative: [7, 0], latent_image: [5, 0] },
    outputs: [[[8, 0], [9, 1]]],
    ...changes,
  };
}

const added = (plan, key) => plan.add.find((each) => each.key === key);

test('a KSampler becomes the chain with every value', () => {
  const plan = replaceKSampler(ksampler(), 'mine');
  assert.deepEqual(plan.add.map((each) => each.type).sort(), ['ARTSigmas', 'KSamplerSelect', 'SamplerCustom']);
  assert.deepEqual(added(plan, 'sample').widgets,
    { add_noise: true, noise_seed: 42, cfg: 6.5, control_after_generate: 'randomize' });
  assert.deepEqual(added(plan, 'sampler').widgets, { sampler_name: 'dpmpp_2m' });
  assert.deepEqual(added(plan, 'sigmas').widgets, { schedule_name: 'mine', steps: 13, denoise: 0.6 });
  assert.deepEqual(plan.remove, [3]);
});

test('every wire of the KSampler is there again', () => {
  const plan = replaceKSampler(ksampler(), 'mine');
  const wires = plan.connect.map(({ from, to, input }) => `${from.join('.')} > ${to}.${input}`).sort();
  assert.deepEqual(wires, ['4.0 > sample.model', '4.0 > sigmas.model', '5.0 > sample.latent_image',
    '6.0 > sample.positive', '7.0 > sample.negative', 'sampler.0 > sample.sampler', 'sigmas.0 > sample.sigmas'].sort());
  assert.deepEqual(plan.outputs, [{ from: ['sample', 0], to: [8, 0] }, { from: ['sample', 0], to: [9, 1] }]);
});

test('widgets that are fed by wires stay so, and the scheduler leaves with its wire', () => {
  const inputs = { ...ksampler().inputs, seed: [20, 0], steps: [21, 0], cfg: [22, 0], denoise: [23, 0],
    sampler_name: [24, 0], scheduler: [25, 0] };
  const plan = replaceKSampler(ksampler({ inputs }), 'mine');
  const wires = Object.fromEntries(plan.connect.map(({ from, to, input }) => [from[0], `${to}.${input}`]));
  assert.deepEqual([20, 21, 22, 23, 24, 25].map((id) => wires[id]),
    ['sample.noise_seed', 'sigmas.steps', 'sample.cfg', 'sigmas.denoise', 'sampler.sampler_name', undefined]);
});

test('a node without wires, and one that is bypassed', () => {
  const plan = replaceKSampler(ksampler({ inputs: {}, outputs: [], mode: 4 }), 'mine');
  assert.equal(plan.connect.length, 2);
  assert.deepEqual(plan.outputs, []);
  assert.deepEqual(plan.add.map((each) => each.mode), [4, 4, 4]);
});

test('title and colours stay with what samples', () => {
  const look = { title: 'second pass', color: '#223', bgcolor: '#335' };
  const plan = replaceKSampler(ksampler({ look }), 'mine');
  assert.deepEqual(plan.add.map((each) => each.look), [look, undefined, undefined]);
});

test('nothing else is replaced, and the input is left as it was', () => {
  const node = ksampler();
  const before = structuredClone(node);
  replaceKSampler(node, 'mine');
  addTrain(node, 'x');
  assert.deepEqual(node, before);
  assert.ok(canReplace('KSampler') && !canReplace('KSamplerAdvanced') && !canReplace('SamplerCustom'));
  assert.throws(() => replaceKSampler({ ...node, type: 'KSamplerAdvanced' }, 'x'), TypeError);
});

test('ART Train is wired as the sampler is', () => {
  const plan = addTrain(ksampler(), 'mine');
  assert.deepEqual(plan.add.map(({ type, widgets }) => [type, widgets]),
    [['ARTTrain', { name: 'mine', cfg: 6.5, steps: 21 }]]);
  assert.deepEqual(plan.connect.map(({ from, input }) => [from[0], input]),
    [[4, 'model'], [6, 'positive'], [7, 'negative'], [5, 'latent_image']]);
  assert.deepEqual(plan.remove, []);
  assert.ok(plan.add[0].pos[1] > 200 + 262);
});

test('with less denoise a schedule is read at more steps, and learned for so many', () => {
  const steps = (denoise) => {
    const { widgets, ...rest } = ksampler();
    return addTrain({ ...rest, widgets: { ...widgets, steps: 10, denoise } }, 'mine').add[0].widgets.steps;
  };
  assert.deepEqual([1, 0.5, 0.3, 0].map(steps), [10, 20, 33, 10]);
});

test('ART Train gets what was found best for the sampler that there is', () => {
  const nodes = { 9: { widgets: { sampler_name: 'deis' }, inputs: {} }, 8: { widgets: {}, inputs: {} } };
  const nodeOf = (id) => nodes[id] ?? null;
  const custom = (id) => ({ widgets: {}, inputs: { sampler: [id, 0] } });
  assert.deepEqual([ksampler(), custom(9), custom(8), custom(7), { widgets: {}, inputs: {} }]
    .map((node) => findSampler(nodeOf, node)), ['dpmpp_2m', 'deis', null, null, null]);
  assert.equal(findSampler(nodeOf, ksampler({ inputs: { sampler_name: [24, 0] } })), null);
  const primitive = { 24: { type: 'Reroute', widgets: {}, inputs: { '': [25, 0] } },
    25: { type: 'PrimitiveNode', widgets: { value: 'heun' }, inputs: {} }, 26: { type: 'Reroute', widgets: {}, inputs: {} } };
  assert.deepEqual([24, 25, 26].map((id) => findSampler((each) => primitive[each] ?? null,
    ksampler({ inputs: { sampler_name: [id, 0] } }))), ['heun', 'heun', null]);
  const offered = ['euler', 'end:euler', 'end:heun', 'spectrum:heun', 'spectrum:euler_ancestral', 'spectrum:dpmpp_2m_sde'];
  const noisy = { objective: 'spectrum:dpmpp_2m_sde', orbits: 80 };
  assert.deepEqual(['heun', 'euler', 'euler_ancestral', 'dpmpp_2m_sde', 'dpmpp_2m_sde_gpu', 'lcm', null]
    .map((name) => settingsFor(name, offered)), [{ objective: 'end:heun', orbits: 24 }, { objective: 'end:euler' },
    { objective: 'spectrum:euler_ancestral', orbits: 80 }, noisy, noisy, {}, {}]);
  assert.deepEqual(settingsFor('heun', []), {});
  const settings = settingsFor('dpmpp_2m', ['end:dpmpp_2m']);
  assert.deepEqual(addTrain(ksampler(), 'mine', settings).add[0].widgets,
    { name: 'mine', objective: 'end:dpmpp_2m', orbits: 24, trial_calls: 4096, cfg: 6.5, steps: 21 });
});

test('settings, and pictures that make as many model calls as learning, are those of the README', () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const row = (words) => readme.split('\n').find((line) => line.startsWith('|') && line.includes(words))
    .split('|').slice(2, -1).map((cell) => cell.trim());
  for (const [sampler, words] of [['euler', 'the default |'], ['heun', '`end:heun`'], ['deis', 'DEIS'],
    ['dpmpp_2m', 'DPM++ 2M, RES multistep'], ['res_multistep', 'RES multistep'], ['uni_pc', '`end:uni_pc`'],
    ['dpmpp_2m_sde', '`spectrum:dpmpp_2m_sde`']]) {
    const objectives = [sampler === 'dpmpp_2m_sde' ? `spectrum:${sampler}` : `end:${sampler}`];
    const { orbits = 4, trial_calls: trials = 0, ...rest } = settingsFor(sampler, objectives);
    const [objective, advised, recorded, pictures] = row(words);
    assert.deepEqual([trials, orbits].map(String), [advised, recorded], sampler);
    assert.ok(objective.includes(rest.objective) || objective.includes('<your sampler>'), sampler);
    assert.ok(Math.abs(picturesOf({ orbits, trial_calls: trials }) - Number.parseFloat(pictures)) < 6, `${sampler}: ${pictures}`);
  }
});

test('of the kinds of auto a sampler gets the one that suits it, if ART Sigmas has it', () => {
  const offered = ['auto', 'auto-dpmpp_2m', 'auto-clock', 'sdxl'];
  assert.deepEqual(['euler', 'heun', 'dpmpp_2m', 'uni_pc', 'lcm', null].map((name) => autoFor(name, offered)),
    ['auto', 'auto-clock', 'auto-dpmpp_2m', 'auto-dpmpp_2m', 'auto', 'auto']);
  assert.equal(autoFor('heun', ['auto', 'sdxl']), 'auto');
});

test('what a schedule can be learned for', () => {
  const names = ['model', 'positive', 'negative', 'latent_image', 'sampler'];
  assert.ok(canLearn(names, 'SamplerCustom') && canLearn(names, 'KSamplerAdvanced'));
  assert.ok(!canLearn(names.slice(1), 'SamplerCustomAdvanced') && !canLearn(names, 'ARTTrain'));
});

test('the checkpoint is found behind LoRAs, and a ring of wires ends', () => {
  const nodes = {
    1: { widgets: { ckpt_name: 'SDXL/base.safetensors' }, inputs: {} },
    2: { widgets: { lora_name: 'x' }, inputs: { clip: [7, 1], model: [1, 0] } },
    3: { widgets: {}, inputs: { any: [2, 0] } },
    5: { widgets: {}, inputs: { model: [6, 0] } }, 6: { widgets: {}, inputs: { model: [5, 0] } },
  };
  const from = (model) => ({ inputs: model === null ? {} : { model: [model, 0] } });
  const find = (model) => findCheckpoint((id) => nodes[id] ?? null, from(model));
  assert.deepEqual([1, 2, 3, 5, 99, null].map(find),
    ['SDXL/base.safetensors', 'SDXL/base.safetensors', 'SDXL/base.safetensors', null, null, null]);
});

test('proposed names are names that ART Train takes', () => {
  const good = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
  const names = { 'SDXL/juggernaut XL v9.safetensors': 'juggernaut_XL_v9', 'a\\b\\flux1-dev.gguf': 'flux1-dev',
    '': 'my_schedule', '…': 'my_schedule', 'con.safetensors': 'my_con', 'x.safetensors.safetensors': 'x' };
  for (const [file, name] of Object.entries(names)) assert.equal(proposeName(file), name);
  const odd = [null, '../../x', '<img src=x onerror=alert(1)>', '.hidden', 'a'.repeat(300), 'ü.ckpt', 'nul.x.pt'];
  for (const file of odd) {
    const name = proposeName(file);
    assert.ok(good.test(name) && name.length <= 100 && !/[.]$/.test(name), name);
  }
});
