/** The widget `art_plot` on the pack's nodes. */

import { compareChart, emptyChart, ladderChart, ranChart, trainingChart } from './charts.mjs';
import { sourceOf } from './graph.mjs';
import { allGraphs, executionIds, getJson, isDragged, isElsewhere, onGraphChanged, passWheel, undoable,
  workflowId } from './host.mjs';
import { chosen, isAuto, onSchedules, schedule, state, useSchedule } from './library.mjs';
import { isOver } from './live.mjs';
import { morph } from './paths.mjs';
import { pickSchedule } from './picker.mjs';
import { Plot } from './plot.mjs';
import { keepRecord, onRecords, recordOf } from './records.mjs';
import { button } from './svg.mjs';
import { Told } from './told.mjs';
import { learn, onTrainings, putIntoNode, trainingOf } from './trainings.mjs';
import { say } from './words.mjs';

const HEIGHTS = { ARTSigmas: 370, ARTTrain: 520, ARTCompare: 360 };
/** Of the nodes that only say something. */
const LINES = 90;
/** Narrower, a ladder of 20 steps is a row of dots that touch each other. */
const WIDTH = 330;
/**
 * The host makes room for a node's pictures by squeezing what stretches. A plot keeps its height until a drag, also in
 * a saved workflow: it would stretch over the place of the pictures, and the node grow with every time it is opened.
 */
const HELD = 'art_plot_height';
const TALLEST = 5000;
const MORPH_MS = 180;
const WAIT_MS = 80;
/** Where plots of removed nodes still stand on the page, by the id of the node. */
const left = new Map();

/** For every node that draws and listens, what ends that. */
const ends = new Map();

/**
 * Which plot a node gets, by its class. Each returns what begins to draw and to listen, and that returns what ends it.
 */
const PLOTS = { ARTSigmas: plotSigmas, ARTTrain: plotTraining, ARTCompare: plotComparison, ARTScheduleInfo: showWords,
  ARTExportSchedule: showWords, ARTSaveSchedule: showWords, ARTRecordOrbits: showWords };

/**
 * Give a new node its plot, or the box for what it says, if it is one of ours.
 * @param {any} node
 */
export function addPlot(node) {
  const make = Object.hasOwn(PLOTS, node.comfyClass ?? '') ? PLOTS[node.comfyClass] : null;
  if (!make || node.widgets?.some((widget) => widget.type === 'art_plot')) return;
  const plot = make === showWords ? new Told(say('toldLater')) : new Plot('');
  plot.element.classList.add(`art-plot-${node.comfyClass}`);
  // The host keeps the page itself from being zoomed, which it may not in a passive listener.
  plot.element.addEventListener('wheel', passWheel, { passive: false });
  const least = HEIGHTS[node.comfyClass] ?? LINES;
  const held = () => {
    const height = node.properties?.[HELD];
    return typeof height === 'number' && height >= least && height <= TALLEST ? height : undefined;
  };
  const widget = node.addDOMWidget('art_plot', 'art_plot', plot.element, {
    serialize: false, hideOnZoom: false, getMinHeight: () => held() ?? least, getMaxHeight: held,
    getValue: () => '', setValue: () => {},
  });
  widget.serialize = false;
  after(node, 'onExecuted', () => {
    if (make !== showWords && widget.computedHeight >= least) (node.properties ??= {})[HELD] = widget.computedHeight;
  });
  after(node, 'onResize', () => { if (isDragged(node)) delete node.properties?.[HELD]; });
  // A size that was saved with the workflow is set later and wins.
  // In full height at once: older front ends would grow the node when they first draw it, as a step of undo of its own.
  const [wide, tall] = node.size ?? [WIDTH, 0];
  node.setSize?.([Math.max(WIDTH, wide), Math.max(tall, node.computeSize?.()[1] ?? 0)]);
  const begin = make(node, plot);
  const enter = () => {
    if (!ends.has(node)) ends.set(node, begin());
    plot.resume();
    requestAnimationFrame(() => ends.has(node) && takePlace(node, plot.element));
  };
  // Only in a graph: copying makes nodes that no graph ever gets, and that nobody removes.
  after(node, 'onAdded', enter);
  after(node, 'onRemoved', () => {
    leave(node);
    plot.destroy();
    if (plot.element.isConnected) left.set(String(node.id), plot.element);
  });
  if (node.graph) enter();
}

function leave(node) {
  ends.get(node)?.();
  ends.delete(node);
}

/** Nodes whose subgraph is no longer there draw no more: older front ends drop it without removing them. */
export function leaveLost() {
  const graphs = allGraphs();
  [...ends.keys()].filter((node) => !graphs.includes(node.graph)).forEach(leave);
  [...left].filter(([, element]) => !element.isConnected).forEach(([id]) => left.delete(id));
}

/**
 * Stand where the plot of an earlier node with the same id stood. Undo, another workflow and a subgraph put new nodes
 * in the place of old ones; newer front ends keep the elements of a node for the next one of its id, and never ask it
 * for its own plot.
 */
function takePlace(node, element) {
  const before = left.get(String(node.id));
  left.delete(String(node.id));
  if (!element.isConnected && before?.isConnected) before.replaceWith(element);
}

/** Have a method of one node do something more, whoever else does the same. */
function after(node, method, action) {
  const before = node[method];
  node[method] = function (...given) {
    const result = before?.apply(this, given);
    action(...given);
    return result;
  };
}

/** ART Sigmas: redrawn when a widget or a wire changes, without queueing. */
function plotSigmas(node, plot) {
  let [timer, turn, here, trained, drawn] = [0, 0, false, '', ''];
  const words = new Told(say('toldLater'));
  plot.element.append(words.element);
  const wanted = () => JSON.stringify([nameOf(node), valueOf(node, 'steps'), valueOf(node, 'denoise')]);
  const draw = async () => {
    turn += 1;
    const mine = turn;
    drawn = wanted();
    words.show(lastRun(node)?.text);
    const chart = await sigmasChart(node);
    // An answer that was overtaken by a later change is not shown.
    if (mine === turn) plot.show(chart);
  };
  const soon = () => {
    clearTimeout(timer);
    if (here) timer = setTimeout(draw, WAIT_MS);
  };
  plot.actions.append(button(say('browse'), async () => {
    const name = await pickSchedule();
    if (name !== null) undoable(() => useSchedule(node, name));
  }));
  node.widgets.filter((widget) => widget.type !== 'art_plot').forEach((widget) => after(widget, 'callback', soon));
  // Most changes of a graph change nothing here.
  const changed = () => wanted() !== drawn && soon();
  // Many messages of a training change nothing here.
  const train = () => {
    const [before, state] = [trained, trainingOf(wiredTrain(node) ?? {})];
    trained = `${state?.run} ${state?.name}`;
    if (trained !== before) soon();
  };
  after(node, 'onExecuted', (output) => readOutput(output?.art_sigmas, (record) => {
    // The name may have been changed since the run was queued, or another workflow may be in front.
    const other = !sourceOf(node, 'schedule_name') && typeof record.choice === 'string' && record.choice !== chosen(node);
    keepRecord(node, { ...record, asked: other || isElsewhere(record) ? null : asked(node) });
  }));
  for (const method of ['onConfigure', 'onConnectionsChange', 'onExecuted']) after(node, method, soon);
  return () => {
    here = true;
    const stop = [onSchedules(soon), onTrainings(train), onRecords(soon), onGraphChanged(changed)];
    soon();
    return () => {
      clearTimeout(timer);
      turn += 1;
      here = false;
      stop.forEach((each) => each());
    };
  };
}

/** What ART Sigmas was asked for, as a text: what auto took is known only for the same choice and the same wires. */
function asked(node) {
  const wires = ['schedule', 'model', 'schedule_name', 'steps', 'denoise'].map((input) => sourceOf(node, input));
  return JSON.stringify([chosen(node), ...wires]);
}

/** What the node told when it ran as it is wired now; null if it has not. */
function lastRun(node) {
  const told = recordOf(node);
  // Of another name or workflow than in front when it was told, the wires are not known.
  const same = told?.asked === null ? told.choice === chosen(node) : told?.asked === asked(node);
  return same ? told : null;
}

/** The name of the schedule that will be read; null where only a run tells. */
function nameOf(node) {
  if (sourceOf(node, 'schedule')) return trainingOf(wiredTrain(node) ?? {})?.name ?? null;
  if (sourceOf(node, 'schedule_name')) return null;
  return isAuto(chosen(node)) ? lastRun(node)?.name ?? null : chosen(node);
}

async function sigmasChart(node) {
  const name = nameOf(node);
  const wires = ['schedule', 'schedule_name', 'steps', 'denoise'].filter((input) => sourceOf(node, input));
  if (wires.includes('steps') || wires.includes('denoise') || (!name && wires.length)) {
    return lastRun(node) ? ranChart(lastRun(node)) : emptyChart(say('wiredLater'));
  }
  const [steps, denoise] = ['steps', 'denoise'].map((input) => Number(valueOf(node, input)));
  if (!Number.isInteger(steps) || steps < 1 || !(denoise >= 0 && denoise <= 1)) return emptyChart(say('noSteps'));
  if (!name) return emptyChart(say('autoLater'));
  const known = await schedule(name);
  if (!known) return emptyChart(state() === 'failed' ? say('listFailed') : say('noSchedule', { name }));
  const answer = await getJson('/art/ladders', { name, steps, denoise });
  return ladderChart({ name, schedule: known, steps, denoise, ladders: answer?.ladders ?? {} });
}

function valueOf(node, name) {
  return node.widgets?.find((widget) => widget.name === name)?.value;
}

/** The ART Train node at the schedule input, if one is wired directly. */
function wiredTrain(node) {
  const index = node.inputs?.findIndex((input) => input.name === 'schedule') ?? -1;
  const origin = index >= 0 ? node.getInputNode?.(index) : null;
  return origin?.comfyClass === 'ARTTrain' ? origin : null;
}

/** ART Train: the live picture; it is there again after a reload. */
function plotTraining(node, plot) {
  let [shown, moving, drawnRun] = [[], 0, null];
  const use = button(say('use'), () => putIntoNode(trainingOf(node)?.name ?? ''));
  plot.actions.append(use);
  const draw = () => {
    const state = trainingOf(node);
    use.style.visibility = state?.name ? 'visible' : 'hidden';
    if (!state) return plot.show(emptyChart(say('trainWaits')));
    cancelAnimationFrame(moving);
    const from = drawnRun === state.run ? shown : [];
    drawnRun = state.run;
    return slide(from, state);
  };
  const slide = (from, state) => {
    const began = performance.now();
    const still = isOver(state) || !from.length || matchMedia('(prefers-reduced-motion: reduce)').matches;
    const step = (now) => {
      const share = still ? 1 : Math.min(1, (now - began) / MORPH_MS);
      shown = morph(from, state.clock, share);
      plot.show(trainingChart({ ...state, clock: shown }));
      if (share < 1) moving = requestAnimationFrame(step);
    };
    step(began);
  };
  after(node, 'onExecuted', (output) => readOutput(output?.art_train, (record) => learn(isElsewhere(record)
    ? record : { ...record, node: executionIds(node)[0] ?? String(node.id), workflow: workflowId() }, true)));
  return () => {
    const stop = onTrainings(draw);
    draw();
    return () => {
      cancelAnimationFrame(moving);
      stop();
    };
  };
}

/** ART Compare: the error curves of the last comparison. */
function plotComparison(node, plot) {
  return showRecord(node, 'art_compare', (record) => plot.show(compareChart(record) ?? emptyChart(say('compareWaits'))));
}

/** What a node said when it last ran. */
function showWords(node, words) {
  return showRecord(node, 'art_told', (record) => words.show(record?.text));
}

/** Keep what a node tells under a name when it has run, and show what it, or one whose place it took, told last. */
function showRecord(node, name, show) {
  const draw = () => show(recordOf(node));
  after(node, 'onExecuted', (output) => readOutput(output?.[name], (record) => {
    keepRecord(node, record);
    draw();
  }));
  return () => {
    const stop = onRecords(draw);
    draw();
    return stop;
  };
}

/** The first entry of a node's output, which the host always makes a list. */
function readOutput(list, read) {
  if (Array.isArray(list) && typeof list[0] === 'object' && list[0] !== null) read(list[0]);
}
