/** Scales of a plot's axes and their ticks. Pure functions, no page. */

/**
 * A scale from data to pixels.
 * @typedef {{domain: [number, number], at: (value: number) => number}} Scale
 */

/**
 * A linear scale; a domain without width is widened, so that nothing is divided by 0.
 * @param {[number, number]} domain in data units
 * @param {[number, number]} range in pixels
 * @returns {Scale}
 */
export function linearScale(domain, range) {
  const [low, high] = domain[0] === domain[1] ? [domain[0] - 0.5, domain[1] + 0.5] : domain;
  const slope = (range[1] - range[0]) / (high - low);
  return { domain: [low, high], at: (value) => range[0] + (clamp(value, low, high) - low) * slope };
}

/**
 * A logarithmic scale; values below its domain, 0 among them, land on its edge.
 * @param {[number, number]} domain both > 0
 * @param {[number, number]} range in pixels
 * @returns {Scale}
 */
export function logScale(domain, range) {
  const low = domain[0] > 0 ? domain[0] : 1e-12;
  const high = domain[1] > low && domain[1] < Infinity ? domain[1] : low * 10;
  const inner = linearScale([Math.log(low), Math.log(high)], range);
  return { domain: [low, high], at: (value) => inner.at(Math.log(Math.max(value, low))) };
}

/**
 * Round values 1, 2 or 5 times a power of ten apart.
 * @param {number} low
 * @param {number} high
 * @param {number} most how many there is room for
 * @param {boolean} [whole] whole numbers only
 * @returns {number[]} ascending, all within [low, high]
 */
export function linearTicks(low, high, most, whole = false) {
  if (!(high > low) || !Number.isFinite(high - low) || most < 1) return [];
  const rough = (high - low) / most;
  const size = 10 ** Math.floor(Math.log10(rough));
  let stride = [1, 2, 5, 10].map((digit) => digit * size).find((step) => step >= rough * (1 - 1e-9));
  if (whole) stride = Math.max(1, Math.round(stride));
  const first = Math.ceil(low / stride - 1e-9);
  const last = Math.floor(high / stride + 1e-9);
  // Multiples of a decimal stride carry rounding such as 0.30000000000000004.
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * stride).toPrecision(12)));
}

/**
 * Ticks of a log axis: 1, 2, 5 of each decade where there is room, else 1, 3, else powers of ten; of a narrow range
 * evenly spaced ones.
 * @param {number} low > 0
 * @param {number} high
 * @param {number} most how many there is room for
 * @returns {number[]} ascending, all within [low, high]
 */
export function logTicks(low, high, most) {
  if (!(low > 0) || !(high > low) || high === Infinity || most < 1) return [];
  if (high / low < 8) return linearTicks(low, high, Math.min(most, 6));
  for (const digits of [[1, 2, 5], [1, 3], [1]]) {
    const ticks = decades(low, high, digits);
    if (ticks.length <= most) return ticks;
  }
  const powers = decades(low, high, [1]);
  const stride = Math.ceil(powers.length / most);
  return powers.filter((_, i) => i % stride === 0);
}

function decades(low, high, digits) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const digit of digits) {
      const tick = Number(`${digit}e${power}`);
      if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) ticks.push(tick);
    }
  }
  return ticks;
}

/** @returns {number} value, or the nearer end of [low, high] */
function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
