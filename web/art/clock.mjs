/**
 * Reading a schedule as Schedule.sigmas of art_nodes/core/schedule.py does; tests/web/clock.test.mjs holds both
 * together. Pure functions, no page.
 */

/**
 * @typedef {{clock: number[], grids?: Object<string, number[]>}} Schedule sigmas at equally spaced clock times,
 *     descending to exactly 0, and the grids of single numbers of steps
 */

/**
 * The sigmas of so many steps.
 * @param {Schedule} schedule
 * @param {number} steps whole, >= 1
 * @param {number} [denoise] share of the clock to run, 0 to 1; 0 gives nothing, as in the node
 * @param {number | null} [sigmaMax] start where the clock reaches this value
 * @returns {number[]} steps + 1 values in float32, strictly descending to exactly 0
 */
export function sigmas(schedule, steps, denoise = 1, sigmaMax = null) {
  if (!Number.isInteger(steps) || steps < 1) throw new RangeError(`steps must be at least 1; got ${steps}`);
  if (!(denoise >= 0 && denoise <= 1)) throw new RangeError(`denoise must lie from 0 to 1; got ${denoise}`);
  if (denoise === 0) return [];
  const total = Math.trunc(steps / denoise);
  const clock = clockFor(schedule, total);
  const top = sigmaMax === null ? schedule.clock[0] : Math.min(sigmaMax, schedule.clock[0]);
  const start = sigmaMax === null ? 0 : timeOfSigma(clock, top);
  const slopes = monotoneSlopes(clock);
  const grid = Array.from({ length: steps + 1 }, (_, i) => {
    const share = (total - steps + i) / total;
    return readAt(clock, slopes, start + (1 - start) * share);
  });
  if (total === steps) grid[0] = top;
  grid[steps] = 0;
  return strictlyDescending(grid.map(Math.fround));
}

/**
 * The clock that `steps` steps are read from: the grid of the nearest number of steps, else the clock.
 * @param {Schedule} schedule
 * @param {number} steps
 * @returns {number[]}
 */
export function clockFor(schedule, steps) {
  const known = Object.keys(schedule.grids ?? {}).map(Number).sort((a, b) => a - b);
  if (!known.length) return schedule.clock;
  const distance = (count) => Math.abs(Math.log(count / steps));
  return schedule.grids[known.reduce((best, count) => (distance(count) < distance(best) ? count : best))];
}

/**
 * Sigma of a clock at times in [0, 1]; monotone cubic, exact at the clock's own nodes.
 * @param {number[]} clock
 * @param {number[]} times
 * @returns {number[]}
 */
export function readClock(clock, times) {
  const slopes = monotoneSlopes(clock);
  return times.map((time) => readAt(clock, slopes, time));
}

/**
 * The time in [0, 1] at which a clock reaches sigma: 0 above its range, 1 at 0.
 * @param {number[]} clock
 * @param {number} sigma
 * @returns {number}
 */
export function timeOfSigma(clock, sigma) {
  if (sigma >= clock[0]) return 0;
  const slopes = monotoneSlopes(clock);
  let [low, high] = [0, 1];
  for (let i = 0; i < 60; i += 1) {
    const middle = 0.5 * (low + high);
    if (readAt(clock, slopes, middle) > sigma) low = middle;
    else high = middle;
  }
  return 0.5 * (low + high);
}

/** Node derivatives of a monotone cubic: Fritsch-Carlson, harmonic mean. */
function monotoneSlopes(values) {
  const step = values.slice(1).map((value, i) => value - values[i]);
  const last = step.length - 1;
  return values.map((_, i) => {
    if (i === 0) return step[0];
    if (i > last) return step[last];
    const product = step[i - 1] * step[i];
    return product > 0 ? (2 * product) / (step[i - 1] + step[i]) : 0;
  });
}

function readAt(clock, slopes, time) {
  if (time >= 1) return clock[clock.length - 1];
  const position = Math.max(0, time) * (clock.length - 1);
  const cell = Math.min(Math.trunc(position), clock.length - 2);
  const u = position - cell;
  const [low, high, d0, d1] = [clock[cell], clock[cell + 1], slopes[cell], slopes[cell + 1]];
  return low + u * (d0 + u * (3 * (high - low) - 2 * d0 - d1 + u * (d0 + d1 - 2 * (high - low))));
}

/** Part values that rounding to float32 made equal; the first and the last stay as they are. */
function strictlyDescending(grid) {
  for (let i = 1; i < grid.length - 1; i += 1) {
    if (!(grid[i] < grid[i - 1])) grid[i] = nextFloat(grid[i - 1], -1);
  }
  for (let i = grid.length - 2; i > 0; i -= 1) {
    if (!(grid[i] > grid[i + 1])) grid[i] = nextFloat(grid[i + 1], 1);
  }
  return grid;
}

/** The float32 beside a value >= 0, above it (1) or below it (-1): positive floats are ordered as their bits. */
function nextFloat(value, direction) {
  const float = new Float32Array([value]);
  const bits = new Int32Array(float.buffer);
  bits[0] = Math.max(0, bits[0] + direction);
  return float[0];
}
