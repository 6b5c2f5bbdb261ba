/** A chart's panels as SVG elements, from plain data of charts.mjs. */

import { shortened, tick } from './format.mjs';
import { linePath } from './paths.mjs';
import { linearScale, linearTicks, logScale, logTicks } from './scales.mjs';
import { svg } from './svg.mjs';
import { say } from './words.mjs';

// Room for labels in pixels; fixed, so that nothing jumps while numbers change.
const MARGIN = { left: 46, right: 14, top: 22, bottom: 34 };
const TICK_WIDTH = 44;
const TICK_HEIGHT = 26;
const SIDE_BY_SIDE = 420;
const MOST_NAMED = 8;
const DOT = 3.5;
// The names of the lines stand in rows above the frame; letters are at most about this wide at 11 pixels.
const LETTER = 6.4;
const NAME_ROW = 15;
const KEY = 18;
const NAME_GAP = 12;

/**
 * @typedef {{element: SVGElement, panel: import('./charts.mjs').Panel, x: import('./scales.mjs').Scale,
 *     y: import('./scales.mjs').Scale, box: {left: number, top: number, right: number, bottom: number}}} Drawn
 */

/**
 * Draw panels side by side, or below each other where it is narrow.
 * @param {import('./charts.mjs').Panel[]} panels
 * @param {number} width of the picture in pixels
 * @param {number} height
 * @returns {Drawn[]}
 */
export function drawPanels(panels, width, height) {
  const beside = width >= SIDE_BY_SIDE;
  return panels.map((panel, i) => {
    const share = (size) => [(size * i) / panels.length, (size * (i + 1)) / panels.length];
    const [left, right] = beside ? share(width) : [0, width];
    const [top, bottom] = beside ? [0, height] : share(height);
    return drawPanel(panel, { left: left + MARGIN.left, right: Math.max(right - MARGIN.right, left + MARGIN.left + 10),
      top: top + MARGIN.top, bottom: bottom - MARGIN.bottom });
  });
}

function drawPanel(panel, space) {
  const rows = legendRows(panel.series, space.right - space.left);
  const top = space.top + NAME_ROW * rows.length;
  const box = { ...space, top, bottom: Math.max(space.bottom, top + 10) };
  const x = scaleOf(panel.x, [box.left, box.right]);
  const y = scaleOf(panel.y, [box.bottom, box.top]);
  const element = svg('g', {}, frame(box), ...ticksAcross(panel.x, x, box), ...ticksUp(panel.y, y, box),
    label(space.left, space.top - 8, panel.title, 'start', 'art-title'),
    label((box.left + box.right) / 2, box.bottom + 28, panel.x.label, 'middle', 'art-label'),
    ...panel.series.flatMap((series) => drawSeries(series, x, y)),
    ...rows.flatMap((row, i) => drawNames(row, space.left, space.top + NAME_ROW * i + 5)));
  return { element, panel, x, y, box };
}

function scaleOf(axis, range) {
  return axis.log ? logScale(axis.domain, range) : linearScale(axis.domain, range);
}

function frame({ left, top, right, bottom }) {
  return svg('rect', { class: 'art-frame', x: left, y: top, width: right - left, height: bottom - top });
}

function ticksAcross(axis, scale, { left, right, top, bottom }) {
  const room = Math.max(1, Math.floor((right - left) / TICK_WIDTH));
  const ticks = axis.log ? logTicks(...scale.domain, room) : linearTicks(...scale.domain, room, axis.whole);
  return ticks.flatMap((value) => [
    svg('line', { class: 'art-grid', x1: scale.at(value), x2: scale.at(value), y1: top, y2: bottom }),
    label(scale.at(value), bottom + 14, tick(value), 'middle'),
  ]);
}

function ticksUp(axis, scale, { left, right, top, bottom }) {
  const room = Math.max(1, Math.floor((bottom - top) / TICK_HEIGHT));
  const ticks = axis.log ? logTicks(...scale.domain, room) : linearTicks(...scale.domain, room);
  return ticks.flatMap((value) => [
    svg('line', { class: 'art-grid', x1: left, x2: right, y1: scale.at(value), y2: scale.at(value) }),
    label(left - 5, scale.at(value) + 4, tick(value), 'end'),
  ]);
}

function drawSeries({ tone, line = [], dots = [] }, x, y) {
  const place = ([a, b]) => [x.at(a), y.at(b)];
  const path = line.length > 1 ? [svg('path', { class: `art-line art-${tone}`, d: linePath(line.map(place)) })] : [];
  const radius = Math.min(DOT, Math.max(1, 120 / Math.max(1, dots.length)));
  const dot = ([cx, cy]) => svg('circle', { class: `art-dot art-${tone}`, cx, cy, r: radius });
  return [...path, ...dots.map(place).map(dot)];
}

/**
 * The names of the lines in rows that fit between the edges, the best line first.
 * @param {import('./charts.mjs').Series[]} series in the order of drawing
 * @param {number} width in pixels
 * @returns {Array<Array<{name: string, tone: string, at: number}>>} `at` in pixels from the left; none for one line
 */
export function legendRows(series, width) {
  if (series.length < 2) return [];
  const named = [...series].reverse().map(({ name, tone }) => ({ name: shortened(name, 24), tone }));
  const shown = named.slice(0, MOST_NAMED);
  if (named.length > MOST_NAMED) shown.push({ name: say('more', { n: named.length - MOST_NAMED }), tone: '' });
  const rows = [[]];
  let at = 0;
  for (const entry of shown) {
    const room = KEY + LETTER * entry.name.length;
    if (at > 0 && at + room > width) {
      rows.push([]);
      at = 0;
    }
    rows.at(-1).push({ ...entry, at });
    at += room + NAME_GAP;
  }
  return rows;
}

function drawNames(row, left, y) {
  return row.flatMap(({ name, tone, at }) => {
    const key = tone ? [svg('line', { class: `art-line art-${tone}`, x1: left + at, x2: left + at + KEY - 5, y1: y - 4,
      y2: y - 4 })] : [];
    return [...key, label(left + at + KEY, y, name, 'start', 'art-name')];
  });
}

function label(x, y, text, anchor, className = 'art-tick') {
  return svg('text', { class: className, x, y, 'text-anchor': anchor }, text);
}
