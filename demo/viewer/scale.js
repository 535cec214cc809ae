// What a row of attention says: its scale, the patches with most of its mass, its shares over time.
//
// T analysed frames, h×w patches, N = h·w. A row has T·N numbers.

export const LEAST_TOP = 6; // times uniform attention: a row without a peak reaches a sixth of the scale
const PERCENTILE = 0.999; // of a row: the weight with the hottest colour
const LEAST_RANGE = 0.5; // of uniform attention: the least that the axis over time spans

/** Return the value below which a share of the values lies, interpolated as numpy.quantile does. */
export function quantile(values, share) {
  const place = share * (values.length - 1);
  const low = Math.floor(place);
  const copy = Float32Array.from(values);
  const found = selectSmallest(copy, low);
  if (low === place) return found;
  let next = Infinity;
  for (let i = low + 1; i < copy.length; i++) next = Math.min(next, copy[i]);
  return found + (place - low) * (next - found);
}

/** Reorder values so that the k-th smallest stands at k, smaller ones before it; return it. */
function selectSmallest(values, k) {
  let [left, right] = [0, values.length - 1];
  while (left < right) {
    const pivot = values[(left + right) >> 1];
    let [i, j] = [left, right];
    while (i <= j) {
      while (values[i] < pivot) i++;
      while (values[j] > pivot) j--;
      if (i <= j) {
        const value = values[i];
        values[i++] = values[j];
        values[j--] = value;
      }
    }
    if (k <= j) right = j;
    else if (k >= i) left = i;
    else break;
  }
  return values[k];
}

/** Return the weight from which on patches belong to the fewest that hold a share of a row. */
export function massThreshold(row, share) {
  const sorted = Float32Array.from(row).sort();
  const wanted = share * sorted.reduce((sum, value) => sum + value, 0);
  let sum = 0;
  for (let i = sorted.length - 1; i >= 0; i--) {
    sum += sorted[i];
    if (sum >= wanted) return sorted[i];
  }
  return 0;
}

/** Return the weight with the hottest colour; scaleMax: 'row', or a number of times uniform. */
export function topOfScale(row, scaleMax) {
  const uniform = 1 / row.length;
  if (scaleMax > 0) return Number(scaleMax) * uniform;
  return Math.max(quantile(row, PERCENTILE), LEAST_TOP * uniform);
}

/** Return the share of a row that each of T frames receives: Float32Array(T). */
export function sharesOf(row, samples) {
  const shares = new Float32Array(samples);
  const patches = row.length / samples;
  for (let i = 0; i < row.length; i++) shares[Math.floor(i / patches)] += row[i];
  return shares;
}

/** Return the highest value of a row in each of T frames: Float32Array(T). */
export function highestOf(row, samples) {
  const patches = row.length / samples;
  return Float32Array.from({ length: samples }, (_, t) =>
    row.subarray(t * patches, (t + 1) * patches).reduce((most, value) => Math.max(most, value), -1),
  );
}

/** Return the numbers of one frame of a row, or the blend of two frames. */
export function between(row, sample, samples) {
  const patches = row.length / samples;
  const place = Math.min(Math.max(sample, 0), samples - 1);
  const [low, part] = [Math.floor(place), place % 1];
  const first = row.subarray(low * patches, (low + 1) * patches);
  if (!part) return first;
  const second = row.subarray((low + 1) * patches, (low + 2) * patches);
  return Float32Array.from(first, (value, i) => value + part * (second[i] - value));
}

/** Return the ends of an axis for several shares over time. */
export function axisOf(all, uniform) {
  let [low, high] = [uniform, uniform];
  for (const shares of all) {
    low = Math.min(low, ...shares);
    high = Math.max(high, ...shares);
  }
  const lacking = Math.max(0, LEAST_RANGE * uniform - (high - low)) / 2;
  const margin = lacking + 0.08 * (high - low);
  return { low: Math.max(0, low - margin), high: high + margin };
}

/**
 * Return what a row says in numbers: entropy in nats, the part of all patches that a uniform distribution
 * of that entropy covers, the share of one frame, and the patches with the largest weights.
 */
export function numbersOf(row, grid, sample, most = 5) {
  const patches = grid[0] * grid[1];
  let [entropy, own] = [0, 0];
  for (let i = 0; i < row.length; i++) {
    if (row[i] > 0) entropy -= row[i] * Math.log(row[i]);
    if (Math.floor(i / patches) === sample) own += row[i];
  }
  const order = Array.from(row.keys()).sort((a, b) => row[b] - row[a]);
  const top = order.slice(0, most).map((i) => ({
    sample: Math.floor(i / patches),
    row: Math.floor((i % patches) / grid[1]),
    column: i % grid[1],
    weight: row[i],
  }));
  return { entropy, covers: Math.exp(entropy) / row.length, own, top };
}
