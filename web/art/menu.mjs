/** What a right click on a sampler offers. */

import { carryOut, describeNode, neighbours } from './graph.mjs';
import { app, choicesOf, tell } from './host.mjs';
import { offerChoices, refresh, schedules, state } from './library.mjs';
import {
  addTrain, autoFor, canLearn, canReplace, findCheckpoint, findSampler, picturesOf, proposeName, replaceKSampler,
  settingsFor,
} from './rewrite.mjs';
import { say } from './words.mjs';

// With these the host's own schedules were as good or better at most numbers of steps (docs/fid-noise.md).
const UNPROVEN = ['euler_ancestral', 'res_multistep_ancestral'];
const DOUBTFUL = ['uni_pc']; // with guidance: docs/results.md

/**
 * Our entries of a node's menu.
 * @param {any} node
 * @returns {Array<{content: string, callback: () => void}>} `content` may be set as markup: fixed texts only
 */
export function menuItems(node) {
  const [items, type] = [[], node?.comfyClass ?? node?.type];
  if (canLearn((node?.inputs ?? []).map((input) => input.name), type)) {
    items.push({ content: say('learnHere'), callback: () => learnHere(node) });
  }
  if (canReplace(type)) items.push({ content: say('replaceHere'), callback: () => replaceHere(node) });
  return items;
}

function learnHere(node) {
  const [plain, nodeOf] = [describeNode(node), neighbours(node)];
  const name = proposeName(findCheckpoint(nodeOf, plain));
  const sampler = findSampler(nodeOf, plain);
  const objectives = choicesOf('ARTTrain', 'objective');
  const settings = settingsFor(sampler, objectives);
  if (!finish(addTrain(plain, name, settings), node.graph)) return;
  if (UNPROVEN.includes(sampler)) tell('info', say('learnUnproven', { sampler }));
  else if (settings.objective) {
    const doubts = DOUBTFUL.includes(sampler) ? say('learnDoubtful') : '';
    tell('info', say('learnCost', { sampler, n: picturesOf(settings) }) + aims(settings) + doubts);
  } else if (sampler && objectives.length) tell('warn', say('learnOther', { sampler }));
}

/** What is left to connect, for an objective that was found best with pictures to aim at. */
function aims({ objective }) {
  return objective.startsWith('spectrum:') ? say('learnAims') : '';
}

async function replaceHere(node) {
  const known = schedules().length ? schedules() : await refresh();
  if (known.every((each) => each.error)) return tell('info', say(state() === 'failed' ? 'listFailed' : 'noneYet'));
  // The page does not know what model it is. ART Sigmas is wired to it, and auto finds the schedule of its family.
  const plain = describeNode(node);
  const choice = autoFor(findSampler(neighbours(node), plain), choicesOf('ARTSigmas', 'schedule_name'));
  const nodes = finish(replaceKSampler(plain, choice), node.graph);
  if (nodes) tell('info', say('replacedWith', { choice }));
  return nodes;
}

/** Carry out a plan and select the new nodes, or say why there are none. */
function finish(plan, graph) {
  let nodes;
  try {
    nodes = carryOut(plan, graph);
  } catch (error) {
    console.error('ComfyUI-ART:', error);
    return tell('error', say('changeFailed'));
  }
  if (!nodes) return tell('warn', say('nodeMissing'));
  nodes.forEach(offerChoices);
  app.canvas?.deselectAll?.();
  nodes.forEach((node) => app.canvas?.select?.(node));
  return nodes;
}
