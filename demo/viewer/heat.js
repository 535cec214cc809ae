/** Return the colour of a pin, [r, g, b]. */
export function pinColour(base, i) {
  return [...base.colours.subarray(3 * i, 3 * i + 3)];
}

/** Return the place of a time among the analysed frames. */
export function placeInTime({ analysed, times }, seconds) {
  return analysed.findLastIndex((i) => times[i] <= seconds);
}

/** Return the attention over time for the timeline. */
export function shareOverTime(context) {
  return { lines: [], uniform: null, low: 0, high: 1, name: 'share of attention' };
}

/** Paint the current reading over the picture of a canvas. */
export function paintHeat(context, ctx, sample, size) {}
