/** Numbers as people read them. Pure functions, no page. */

/**
 * A number with so many significant digits, never as "1e-3" between 0.0001 and a million.
 * @param {number} value
 * @param {number} [digits]
 * @returns {string} "–" for what is no number
 */
export function number(value, digits = 3) {
  if (!Number.isFinite(value)) return '–';
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e6) return value.toExponential(Math.max(0, digits - 1)).replace('e+', 'e');
  return String(Number(size >= 10 ** digits ? value.toFixed(0) : value.toPrecision(digits)));
}

/**
 * A tick's label: all of its digits, in powers of ten where that would be long.
 * @param {number} value
 * @returns {string}
 */
export function tick(value) {
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5)) {
    return value.toExponential().replace('e+', 'e');
  }
  return String(Number(value.toPrecision(6)));
}

/**
 * A time span: "0.4 s", "12 s", "3 min 20 s", "2 h 5 min".
 * @param {number | null} seconds
 * @returns {string} "–" if it is not known
 */
export function seconds(seconds) {
  if (!Number.isFinite(seconds) || seconds === null) return '–';
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return joined(Math.floor(whole / 60), 'min', whole % 60, 's');
  const minutes = Math.round(whole / 60);
  return joined(Math.floor(minutes / 60), 'h', minutes % 60, 'min');
}

function joined(large, largeUnit, small, smallUnit) {
  return small ? `${large} ${largeUnit} ${small} ${smallUnit}` : `${large} ${largeUnit}`;
}

/**
 * A share in per cent: "31 %".
 * @param {number} share 0 to 1
 * @returns {string}
 */
export function percent(share) {
  return Number.isFinite(share) ? `${Math.round(100 * share)} %` : '–';
}

/**
 * A text no longer than `most` characters.
 * @param {unknown} text what is no text is written as one
 * @param {number} most
 * @returns {string}
 */
export function shortened(text, most) {
  const letters = [...String(text ?? '')];
  return letters.length <= most ? letters.join('') : `${letters.slice(0, most - 1).join('')}…`;
}

/**
 * Sigmas as text to paste elsewhere: separated by commas, never in powers of ten, which the host's node ManualSigmas
 * cannot read.
 * @param {number[]} sigmas
 * @returns {string}
 */
export function sigmasText(sigmas) {
  return sigmas.map((sigma) => plain(Math.fround(sigma))).join(', ');
}

function plain(value) {
  if (value === 0) return '0';
  const exponent = Math.floor(Math.log10(Math.abs(value)));
  if (exponent >= 8) return String(BigInt(Math.round(value)));
  return value.toFixed(Math.min(100, 7 - exponent)).replace(/\.?0+$/, '');
}
