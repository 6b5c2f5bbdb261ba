/**
 * From messages of a training to what the plot shows. Every message holds the whole state of its run, so a lost,
 * repeated or late one does no harm: the newest counts. Pure functions, no page.
 */

const PHASES = ['recording', 'learning', 'refining', 'trying', 'finished', 'failed'];
const MOST_POINTS = 2000;
/** Nodes; beyond these the one that was told of longest ago is forgotten: a page may stay open for weeks. */
const MOST_NODES = 200;

/**
 * @typedef {{node: string, workflow: string | null, run: number, number: number, phase: string,
 *     done: number, total: number, calls: number, seconds: number, left: number | null,
 *     start: number[], clock: number[], ladder: number[], costs: Array<[number, number]>, iteration: number,
 *     iterations: number, name: string | null}} LiveState one training run: times in seconds, clocks and the ladder of
 *     the steps that are sampled as sigmas, costs in units of the optimum by iteration
 */

/**
 * A message as a state, or null for anything that is none: what a server sends is not trusted.
 * @param {unknown} message
 * @returns {LiveState | null}
 */
export function readMessage(message) {
  if (typeof message !== 'object' || message === null) return null;
  const { node, phase, run } = message;
  if (!['string', 'number'].includes(typeof node) || !PHASES.includes(phase) || !Number.isFinite(run)) return null;
  return {
    node: String(node), workflow: typeof message.workflow === 'string' ? message.workflow : null,
    run, number: finite(message.number), phase,
    done: finite(message.done), total: finite(message.total), calls: finite(message.calls),
    seconds: finite(message.seconds), left: Number.isFinite(message.left) ? Math.max(0, message.left) : null,
    start: clockOf(message.start), clock: clockOf(message.clock), ladder: clockOf(message.ladder),
    costs: costsOf(message.costs),
    iteration: finite(message.iteration), iterations: finite(message.iterations),
    name: typeof message.name === 'string' ? message.name : null,
  };
}

/**
 * The newer of what is known of a node and what a message says.
 * @param {LiveState | null} known
 * @param {unknown} message
 * @param {boolean} [used] whether the message is of the run whose result the node gives now: once all is over that one
 *     counts, be it older, as the host may have kept it
 * @returns {LiveState | null} the very same object where the message changes nothing
 */
export function reduce(known, message, used = false) {
  const told = readMessage(message);
  const again = used && told && known && told.run !== known.run && isOver(told) && isOver(known);
  return told && (again || isNewer(told, known)) ? told : known;
}

/**
 * What is known of all nodes after a message.
 * @param {Object<string, LiveState>} states by nodeKey
 * @param {unknown} message
 * @param {boolean} [used] as for `reduce`
 * @returns {Object<string, LiveState>} the very same object where the message changes nothing
 */
export function reduceAll(states, message, used = false) {
  const told = readMessage(message);
  if (!told) return states;
  const key = nodeKey(told.workflow, told.node);
  const next = reduce(states[key] ?? null, message, used);
  if (next === states[key]) return states;
  const others = Object.entries(states).filter(([each]) => each !== key).slice(1 - MOST_NODES);
  return { ...Object.fromEntries(others), [key]: next };
}

/**
 * Under which key a node of a workflow is kept; a prefix keeps names such as __proto__ harmless.
 * @param {string | null} workflow
 * @param {string | number} node
 * @returns {string}
 */
export function nodeKey(workflow, node) {
  return `${workflow ?? ''}#${node}`;
}

/**
 * The newest state of a node, also of a run whose workflow the server did not know.
 * @param {Object<string, LiveState>} states
 * @param {string | null} workflow
 * @param {string | number} node
 * @returns {LiveState | null}
 */
export function stateOf(states, workflow, node) {
  const found = [states[nodeKey(workflow, node)], states[nodeKey(null, node)]].filter(Boolean);
  return found.reduce((best, state) => (!best || isNewer(state, best) ? state : best), null);
}

/** @returns {boolean} whether a run has ended */
export function isOver(state) {
  return state.phase === 'finished' || state.phase === 'failed';
}

/**
 * How far a phase is.
 * @param {LiveState} state
 * @returns {number} 0 to 1
 */
export function progress(state) {
  if (state.phase === 'finished') return 1;
  return state.total > 0 ? Math.min(1, Math.max(0, state.done / state.total)) : 0;
}

function isNewer(told, known) {
  if (!known || told.run !== known.run) return !known || told.run > known.run;
  // A late message of a run that is over must not bring it back.
  if (isOver(known) && !isOver(told)) return false;
  if (told.number !== known.number) return told.number > known.number;
  return PHASES.indexOf(told.phase) > PHASES.indexOf(known.phase);
}

function finite(value) {
  return Number.isFinite(value) ? value : 0;
}

function clockOf(values) {
  if (!Array.isArray(values) || values.length < 2 || values.length > MOST_POINTS) return [];
  return values.every((value) => Number.isFinite(value) && value >= 0) ? values.slice() : [];
}

function costsOf(values) {
  if (!Array.isArray(values)) return [];
  return values.slice(-MOST_POINTS)
    .filter((pair) => Array.isArray(pair) && Number.isFinite(pair[0]) && Number.isFinite(pair[1]) && pair[1] > 0)
    .map(([iteration, cost]) => [iteration, cost]);
}
