/** The list of schedules as the picker and the side panel show it. Pure functions, no page. */

import { number, shortened } from './format.mjs';
import { say } from './words.mjs';

const ORIGINS = ['bundled', 'trained', 'transferred'];

/**
 * @typedef {{name: string, origin?: string, family?: string | null, date?: string | null, objective?: string | null,
 *     sigma_max?: number, sigma_min?: number | null, grids?: number[], title?: string | null, curve?: number[],
 *     error?: string}} Summary as the route /art/schedules gives it
 */

/**
 * The entries of an answer that can be shown.
 * @param {unknown} answer
 * @returns {Summary[]}
 */
export function readList(answer) {
  const list = answer?.schedules;
  if (!Array.isArray(list)) return [];
  return list.filter((each) => typeof each?.name === 'string');
}

/**
 * The line below a schedule's name: family, origin, date, range.
 * @param {Summary} summary
 * @returns {string}
 */
export function describe(summary) {
  if (summary.error) return say('unreadable', { why: shortened(summary.error, 120) });
  const range = Number.isFinite(summary.sigma_max) ? say('rangeFrom', { sigma: number(summary.sigma_max) }) : null;
  const fitted = summary.objective && summary.objective !== 'euler' ? summary.objective : null;
  const family = typeof summary.family === 'string' && shortened(summary.family, 60);
  return [family, originOf(summary), summary.date, range, fitted]
    .filter((part) => typeof part === 'string' && part).join(' · ');
}

/** @returns {string} where a schedule comes from, in words */
function originOf(summary) {
  return ORIGINS.includes(summary.origin) ? say(summary.origin) : '';
}

/**
 * The schedules that a search finds: every word of it must occur.
 * @param {Summary[]} list
 * @param {string} text
 * @returns {Summary[]} the user's own first, else in their order: there are many bundled ones
 */
export function search(list, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const isOwn = (summary) => Number(summary.origin === 'trained');
  return list.filter((summary) => {
    const where = `${summary.name} ${summary.title ?? ''} ${describe(summary)}`.toLowerCase();
    return words.every((word) => where.includes(word));
  }).sort((one, other) => isOwn(other) - isOwn(one));
}
