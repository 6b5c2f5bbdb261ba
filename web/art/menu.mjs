/** What a right click on a sampler offers. */

import { carryOut, describeNode, neighbours } from './graph.mjs';
import { app, choicesOf, tell } from './host.mjs';
import { AUTO, offerChoices, refresh, schedules } from './library.mjs';
import {
  addTrain, canLearn, canReplace, findCheckpoint, findSampler, objectiveFor, proposeName, replaceKSampler,
} from './rewrite.mjs';
import { say } from './words.mjs';

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
  const objective = objectiveFor(findSampler(nodeOf, plain), choicesOf('ARTTrain', 'objective'));
  finish(carryOut(addTrain(plain, name, objective), node.graph));
}

async function replaceHere(node) {
  const known = schedules().length ? schedules() : await refresh();
  if (known.every((each) => each.error)) return tell('info', say('noneYet'));
  // The page does not know what model it is. ART Sigmas is wired to it, and auto finds the schedule of its family.
  return finish(carryOut(replaceKSampler(describeNode(node), AUTO), node.graph));
}

function finish(nodes) {
  if (!nodes) return tell('warn', say('nodeMissing'));
  nodes.forEach(offerChoices);
  app.canvas?.deselectAll?.();
  nodes.forEach((node) => app.canvas?.select?.(node));
  return nodes;
}
