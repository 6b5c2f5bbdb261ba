/** Lines as SVG path data, and curves on their way from one to another. Pure functions, no page. */

/**
 * Path data of a polyline; points that are not finite leave a gap.
 * @param {Array<[number, number]>} points in pixels
 * @returns {string} empty without a finite point
 */
export function linePath(points) {
  let path = '';
  let pen = 'M';
  for (const [x, y] of points) {
    if (Number.isFinite(x) && Number.isFinite(y)) {
      path += `${pen}${short(x)} ${short(y)}`;
      pen = 'L';
    } else {
      pen = 'M';
    }
  }
  return path;
}

/**
 * A curve read at `count` equally spaced positions of its index, linearly in between.
 * @param {number[]} values at least one
 * @param {number} count at least 2
 * @returns {number[]}
 */
export function resample(values, count) {
  if (values.length === count) return [...values];
  return Array.from({ length: count }, (_, i) => {
    const position = (i / (count - 1)) * (values.length - 1);
    const cell = Math.min(Math.floor(position), Math.max(0, values.length - 2));
    const next = values[Math.min(cell + 1, values.length - 1)];
    return values[cell] + (position - cell) * (next - values[cell]);
  });
}

/**
 * Where a curve is on its way to another; they may have different lengths.
 * @param {number[]} from
 * @param {number[]} to
 * @param {number} share 0 is `from`, 1 is exactly `to`
 * @returns {number[]} as long as the longer one, at the ends as long as that end
 */
export function morph(from, to, share) {
  if (share >= 1 || !from.length) return [...to];
  if (share <= 0 || !to.length) return [...from];
  const count = Math.max(from.length, to.length, 2);
  const [a, b] = [resample(from, count), resample(to, count)];
  return a.map((value, i) => value + share * (b[i] - value));
}

/**
 * The index of the point nearest to a pixel along x.
 * @param {number[]} xs in pixels
 * @param {number} x
 * @returns {number} -1 without points
 */
export function nearest(xs, x) {
  let best = -1;
  xs.forEach((each, i) => {
    if (best < 0 || Math.abs(each - x) < Math.abs(xs[best] - x)) best = i;
  });
  return best;
}

/** A pixel with at most two decimals: half the length of the path for nothing that can be seen. */
function short(value) {
  return String(Math.round(value * 100) / 100);
}
