/** What a plot shows, as plain data: axes, lines, dots and what hovering says. Pure functions, no page. */

import { clockFor, readClock, sigmas, timeOfSigma } from './clock.mjs';
import { number, percent, seconds, shortened } from './format.mjs';
import { isOver, progress } from './live.mjs';
import { count, say } from './words.mjs';

const SMOOTH = 100;
const NAME = 40;

/**
 * `tone` is the line's part: "art", "start", "other1" and so on; points are in data units.
 * @typedef {{name: string, tone: string, line?: Array<[number, number]>, dots?: Array<[number, number]>}} Series
 * @typedef {{label: string, domain: [number, number], log: boolean, whole?: boolean}} Axis
 * @typedef {{title: string, x: Axis, y: Axis, series: Series[],
 *     hover: Array<{x: number, y: number, text: string}>}} Panel
 * @typedef {{alt: string, status: string, share?: number | null, panels: Panel[]}} Chart
 */

/** @returns {Chart} nothing to draw yet, and why */
export function emptyChart(status) {
  return { alt: status, status, panels: [] };
}

/**
 * The sigma ladder of ART Sigmas as it is read off a schedule, against the host's own.
 * @param {{name: string, schedule: import('./clock.mjs').Schedule, steps: number, denoise: number,
 *     ladders?: Object<string, number[]>}} shown
 * @returns {Chart}
 */
export function ladderChart({ name, schedule, steps, denoise, ladders = {} }) {
  const own = sigmas(schedule, steps, denoise);
  if (!own.length) return emptyChart(say('noDenoise'));
  const clock = clockFor(schedule, Math.trunc(steps / denoise));
  return ladderOf(shortened(name, NAME), own, ladders, { line: smoothLine(schedule, steps, denoise) }, 'ladderRange',
    (i, sigma) => say('ladderPoint', { i, steps, sigma, share: percent(timeOfSigma(clock, own[i])) }));
}

/**
 * The sigmas that ART Sigmas gave out when it ran, of which no more is known.
 * @param {{name?: string | null, sigmas?: number[]}} record
 * @returns {Chart}
 */
export function ranChart({ name, sigmas: own }) {
  if (!isLadder(own)) return emptyChart(say('ranNothing'));
  return ladderOf(name ? shortened(name, NAME) : say('connected'), own, {}, {}, 'ranRange',
    (i, sigma) => say('ranPoint', { i, steps: own.length - 1, sigma }));
}

/** A ladder and others beside it; `range` names the text of the status, `point` makes that of a step. */
function ladderOf(name, own, ladders, more, range, point) {
  const steps = own.length - 1;
  const others = Object.entries(ladders).filter(([, grid]) => isLadder(grid));
  const all = [own, ...others.map(([, grid]) => grid)].flat().filter((sigma) => sigma > 0);
  const series = [
    ...others.map(([label, grid], i) => ladder(shortened(label, NAME), `other${i + 1}`, grid, steps)),
    { ...ladder(name, 'art', own, steps), ...more },
  ];
  const ends = { from: number(own[0]), to: number(own[steps - 1]) };
  const labels = others.map(([label]) => label).join(say('and'));
  const against = others.length ? say('ladderAgainst', { others: labels }) : '';
  return {
    alt: say('ladderAlt', { name, steps: count(steps, 'step'), ...ends, against }),
    status: say(range, ends),
    panels: [{
      title: say('ladderTitle', { steps: count(steps, 'step') }),
      x: { label: say('ladderAcross'), domain: [0, steps], log: false, whole: true },
      y: { label: say('sigma'), domain: [Math.min(...all) / 1.3, Math.max(...all) * 1.3], log: true },
      series,
      hover: own.map((sigma, i) => ({ x: i, y: sigma, text: point(i, number(sigma, 4)) })),
    }],
  };
}

/** The positive sigmas of a grid; one of another count is spread over the same width. */
function ladder(name, tone, grid, steps) {
  const points = grid.map((sigma, i) => [(i * steps) / (grid.length - 1), sigma]).filter(([, sigma]) => sigma > 0);
  return { name, tone, line: points, dots: points };
}

/** The clock itself between the steps, down to the last sigma that is sampled. */
function smoothLine(schedule, steps, denoise) {
  const total = Math.trunc(steps / denoise);
  const first = (total - steps) / total;
  const last = (total - 1) / total;
  const times = Array.from({ length: SMOOTH + 1 }, (_, i) => first + ((last - first) * i) / SMOOTH);
  return readClock(clockFor(schedule, total), times).map((sigma, i) => [times[i] * total - (total - steps), sigma]);
}

function isLadder(grid) {
  return Array.isArray(grid) && grid.length >= 2 && grid.every((sigma) => Number.isFinite(sigma) && sigma >= 0);
}

/**
 * The live picture of ART Train: the clock beside the one it started from, and the cost over the iterations.
 * @param {import('./live.mjs').LiveState} state
 * @returns {Chart}
 */
export function trainingChart(state) {
  const status = trainingStatus(state);
  const panels = [state.clock.length ? clockPanel(state) : null, state.costs.length ? costPanel(state) : null];
  return { alt: say('trainAlt', { status }), status, share: progress(state), panels: panels.filter(Boolean) };
}

/**
 * Where a training stands, in a line.
 * @param {import('./live.mjs').LiveState} state
 * @returns {string}
 */
export function trainingStatus(state) {
  const spent = [count(state.calls, 'call'), seconds(state.seconds)];
  const left = state.left === null || isOver(state) ? [] : [say('timeLeft', { time: seconds(state.left) })];
  const cost = state.costs.length ? [say('costNow', { cost: number(state.costs.at(-1)[1], 4) })] : [];
  const phase = say(state.phase, { done: state.done, total: state.total, name: shortened(state.name ?? '', 60) });
  return [phase, ...cost, ...spent, ...left].join(' · ');
}

function clockPanel(state) {
  const curves = [state.start, state.clock, state.ladder].filter((clock) => clock.length);
  const all = curves.flat().filter((sigma) => sigma > 0);
  const points = (clock) => clock.map((sigma, i) => [i / (clock.length - 1), sigma]).filter(([, sigma]) => sigma > 0);
  const series = [{ name: say('start'), tone: 'start', line: points(state.start) },
    { name: say(isOver(state) ? 'learned' : 'now'), tone: 'art', line: points(state.clock) },
    // What is sampled with: of an objective that fits grids the steps lie beside the clock.
    { name: count(state.ladder.length - 1, 'step'), tone: 'other1', line: [], dots: points(state.ladder) }];
  return {
    title: say('clockTitle'),
    x: { label: say('clockShare'), domain: [0, 1], log: false },
    y: { label: say('sigma'), domain: [Math.min(...all) / 1.3, Math.max(...all) * 1.3], log: true },
    series: series.filter(({ line, dots = [] }) => line.length || dots.length),
    hover: points(state.clock).map(([x, y]) => (
      { x, y, text: say('clockPoint', { share: percent(x), sigma: number(y, 4) }) })),
  };
}

function costPanel(state) {
  const costs = state.costs.map(([iteration, cost]) => [iteration, Math.max(cost, 1e-6)]);
  const top = Math.max(1.02, ...costs.map(([, cost]) => cost));
  const last = Math.max(state.iterations, costs.at(-1)[0]);
  return {
    title: say('costTitle'),
    x: { label: say('iteration'), domain: [0, last], log: false, whole: true },
    y: { label: say('cost'), domain: [Math.min(1, ...costs.map(([, cost]) => cost)), top ** 1.08], log: true },
    series: [{ name: say('cost'), tone: 'art', line: costs }],
    hover: costs.map(([x, y]) => ({ x, y, text: say('costPoint', { i: x, cost: number(y, 4) }) })),
  };
}

/**
 * The error curves of ART Compare.
 * @param {{sampler: string, noises: number, curves: Array<{name: string, learned: boolean,
 *     points: Array<[number, number, number]>}>}} record points: model calls, steps, error
 * @returns {Chart | null} null for what is no comparison
 */
export function compareChart(record) {
  const curves = (Array.isArray(record?.curves) ? record.curves : []).map(readCurve).filter(Boolean);
  if (!curves.length) return null;
  const points = curves.flatMap((curve) => curve.points);
  const sampler = shortened(record.sampler, NAME);
  let [learned, others] = [0, 0];
  const series = curves.map((curve) => {
    const line = curve.points.map(([calls, , error]) => [calls, error]);
    const tone = curve.learned ? ['art', 'art2', 'art3'][learned++ % 3] : `other${1 + (others++ % 8)}`;
    return { name: curve.name, tone, line, dots: line };
  });
  return {
    alt: say('compareAlt', { sampler, schedules: count(curves.length, 'schedule'),
      names: curves.slice(0, 5).map((curve) => curve.name).join(say('comma')) }),
    status: say('compareStatus', { sampler, noises: count(Number(record.noises) || 0, 'noise') }),
    panels: [{
      title: say('compareTitle', { sampler }),
      x: { label: say('compareAcross'), domain: spread(points.map(([calls]) => calls)), log: true },
      y: { label: say('error'), domain: spread(points.map(([, , error]) => error)), log: true },
      // The best ones are drawn last, on top.
      series: series.reverse(),
      hover: curves.flatMap((curve) => curve.points.map(([calls, steps, error]) => ({
        x: calls, y: error,
        text: say('comparePoint', { name: curve.name, error: number(error, 4), steps: count(steps, 'step'),
          calls: count(calls, 'call') }),
      }))).sort((a, b) => a.x - b.x || a.y - b.y),
    }],
  };
}

function readCurve(curve) {
  if (!Array.isArray(curve?.points)) return null;
  const points = curve.points.filter((point) => Array.isArray(point) && point.length === 3
    && point.every((value) => Number.isFinite(value) && value > 0));
  return points.length ? { name: shortened(curve.name, NAME), learned: curve.learned === true, points } : null;
}

function spread(values) {
  return [Math.min(...values) / 1.2, Math.max(...values) * 1.2];
}

/**
 * Any schedules over each other.
 * @param {Array<{name: string, clock: number[]}>} schedules each with the sigmas to draw, evenly over the way
 * @returns {Chart}
 */
export function overlayChart(schedules) {
  const shown = schedules.filter((each) => isLadder(each.clock));
  if (!shown.length) return emptyChart(say('overlayWaits'));
  const points = (clock) => clock.map((sigma, i) => [i / (clock.length - 1), sigma]).filter(([, sigma]) => sigma > 0);
  const all = shown.flatMap((each) => each.clock).filter((sigma) => sigma > 0);
  const names = shown.map((each) => shortened(each.name, NAME));
  return {
    alt: say('overlayAlt', { names: names.join(say('comma')) }),
    status: names.join(say('comma')),
    panels: [{
      title: say('overlayTitle'),
      x: { label: say('overlayShare'), domain: [0, 1], log: false },
      y: { label: say('sigma'), domain: [Math.min(...all) / 1.3, Math.max(...all) * 1.3], log: true },
      series: shown.map((each, i) => (
        { name: names[i], tone: i ? `other${1 + ((i - 1) % 8)}` : 'art', line: points(each.clock) })),
      hover: shown.flatMap((each, i) => points(each.clock).map(([x, y]) => (
        { x, y, text: say('overlayPoint', { share: percent(x), name: names[i], sigma: number(y, 4) }) })))
        .sort((a, b) => a.x - b.x || a.y - b.y),
    }],
  };
}
