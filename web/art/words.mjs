/**
 * Every text of the page by name, in English. `locales/<language>/main.json` has the same names under "artPage"; what a
 * language lacks stays English. `$name` is a place for a value. Pure functions, no page.
 */

export const ENGLISH = {
  // plots
  noSteps: 'no such steps',
  autoLater: 'auto is drawn when it has run and knows the model',
  wiredLater: 'what comes over a wire is drawn when it has run',
  noSchedule: 'there is no schedule “$name” to draw',
  trainWaits: 'queue the workflow to see the schedule being learned',
  compareWaits: 'queue the workflow to see the errors of the schedules',
  plot: 'plot',
  readHint: 'hover, or focus and use the arrow keys, to read values',
  toldLater: 'queue the workflow to read here what comes of it',
  noDenoise: 'denoise 0: nothing is sampled',
  more: 'and $n more',
  step: '$n step',
  steps: '$n steps',
  call: '$n model call',
  calls: '$n model calls',
  noise: '$n noise',
  noises: '$n noises',
  schedule: '$n schedule',
  schedules: '$n schedules',
  sigma: 'sigma',
  cost: 'cost',
  error: 'error',
  and: ' and ',
  comma: ', ',
  ladderTitle: 'sigma at $steps',
  ladderAgainst: ', against $others',
  ladderAlt: 'Sigma ladder of $name: $steps from $from to $to, then 0$against.',
  ladderRange: 'from $from to $to, then 0',
  ladderAcross: 'step (after the last one sigma is 0)',
  ladderPoint: 'step $i of $steps: sigma $sigma, $share of the clock',
  ranNothing: 'of the last run there is nothing to draw',
  ranRange: 'as it last ran: from $from to $to, then 0',
  ranPoint: 'step $i of $steps: sigma $sigma',
  connected: 'the connected schedule',
  trainAlt: 'ART Train: $status.',
  timeLeft: 'about $time left in this phase',
  costNow: 'cost $cost of the optimum',
  recording: 'recording, model call $done of $total',
  learning: 'learning, iteration $done of $total',
  refining: 'fitting grids, $done of $total',
  trying: 'trying grids, $done of $total model calls',
  finished: 'saved as $name',
  failed: 'stopped, nothing was saved',
  start: 'start',
  learned: 'learned',
  now: 'now',
  clockTitle: 'the paper’s clock: sigma over time',
  clockShare: 'share of the clock',
  clockPoint: '$share of the clock: sigma $sigma',
  costTitle: 'cost in units of the optimum',
  iteration: 'iteration',
  costPoint: 'iteration $i: cost $cost of the optimum',
  compareAlt: 'Error of $sampler against model calls for $schedules; least first: $names.',
  compareStatus: 'error of $sampler over $noises',
  compareTitle: 'error of $sampler',
  compareAcross: 'model calls of one sampling',
  comparePoint: '$name: error $error at $steps, $calls',
  overlayWaits: 'choose two or more schedules to lay over each other',
  overlayAlt: 'Steps of $names.',
  overlayTitle: 'sigma over the steps',
  overlayShare: 'share of the steps',
  overlayPoint: '$share of the steps: $name at sigma $sigma',
  // picker and list
  autoMultistep: 'the family’s for DPM++ 2M, RES multistep, DEIS and UniPC',
  autoClock: 'the family’s for Heun: the paper’s clock; of flows the one for Euler',
  browse: 'Browse schedules…',
  choose: 'Choose a schedule',
  search: 'Search schedules',
  searchHint: 'Search name, family, origin, date',
  cancel: 'Cancel',
  nothingFound: 'No schedule is found. ART Train makes one.',
  listLoading: 'The schedules are being read.',
  listFailed: 'The server does not answer; schedules cannot be read now.',
  listFirst: '$schedules; the first $n are shown',
  bundled: 'bundled',
  trained: 'trained here',
  transferred: 'transferred',
  unreadable: 'cannot be read: $why',
  rangeFrom: 'from sigma $sigma',
  // side panel
  panel: 'ART schedules',
  stepsLabel: 'Steps ',
  stepsHint: 'Steps of the sigmas to copy',
  use: 'Use it',
  copy: 'Copy sigmas',
  copied: 'The sigmas of $steps are in the clipboard.',
  copyRefused: 'The browser does not allow copying here.',
  chooseOne: 'Choose exactly one schedule for this.',
  examples: 'Example workflows',
  open: 'Open $name',
  exampleUnreadable: 'This example workflow could not be read.',
  // what a file says of a schedule
  factTitle: 'title',
  factModel: 'model',
  factModelSampling: 'model sampling',
  factMethod: 'method',
  factObjective: 'objective',
  factCost: 'cost',
  factCfg: 'cfg',
  factOrbits: 'orbits',
  factNodes: 'nodes',
  factModelCalls: 'model calls',
  factSeed: 'seed',
  factSigmaMax: 'sigma max',
  factSigmaMin: 'sigma min',
  factShift: 'shift',
  factCarriedOver: 'carried over',
  factCostOfClock: 'cost of the clock',
  // messages and menu
  saved: 'Schedule saved as “$name”',
  close: 'Close',
  selectFirst: 'Select an ART Sigmas node first; it will then use the schedule.',
  used: 'ART Sigmas uses “$name” now.',
  wireWins: 'A wire at $input decides which schedule this node uses; take it off to choose one here.',
  learnHere: 'Learn a schedule for this model',
  replaceHere: 'Use ART sigmas',
  noneYet: 'There is no schedule yet. ART Train makes one.',
  replacedWith: 'ART Sigmas takes the bundled schedule ($choice). Unless this is the demo model it was learned on another '
    + 'one, and may be better or worse than what you had: choose one of your own there, or “Learn a schedule for this '
    + 'model”.',
  learnCost: 'ART Train is set as was found best for $sampler; '
    + 'it makes about as many model calls as $n pictures of 30 steps. Fewer orbits and trial_calls make fewer.',
  learnAims: ' Connect some encoded pictures, as sharp as you want yours, to its references.',
  learnDoubtful: ' With guidance ComfyUI’s own schedules were often as good or better for it; '
    + 'see “Which objective?” in the README.',
  learnUnproven: 'For $sampler ComfyUI’s own schedules were as good or better at most numbers of steps; '
    + 'see “Which objective?” in the README.',
  learnOther: 'ART Train has no objective for $sampler, and is set as for euler.',
  nodeMissing: 'This ComfyUI lacks a node type that is needed; nothing was changed.',
  changeFailed: 'The workflow could not be changed completely; undo takes back what was done.',
};
let chosen = {};

/**
 * Use these texts from now on.
 * @param {unknown} texts by name, as an answer of the host gives them; what is no text is left out
 */
export function useTexts(texts) {
  const known = Object.entries(texts ?? {}).filter(([name, text]) => Object.hasOwn(ENGLISH, name)
    && typeof text === 'string' && text);
  chosen = Object.fromEntries(known);
}

/**
 * A text in the user's language.
 * @param {keyof typeof ENGLISH} name
 * @param {Object<string, string | number>} [values] for its places
 * @returns {string}
 */
export function say(name, values = {}) {
  const text = chosen[name] ?? ENGLISH[name];
  return text.replace(/\$([a-z]+)/g, (place, key) => (Object.hasOwn(values, key) ? String(values[key]) : place));
}

/**
 * A number and its noun: "1 step", "4 steps".
 * @param {number} n
 * @param {'step' | 'call' | 'noise' | 'schedule'} noun
 * @returns {string}
 */
export function count(n, noun) {
  return say(n === 1 ? noun : `${noun}s`, { n });
}
