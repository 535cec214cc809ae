/** Return the heat of hover and pins in an analysed frame. */
export function currentHeat(context, sample) {
  return { heats: [] };
}

/** Paint the current heat. */
export function paintHeat(context, ctx, sample, size) {}

/** Return attention over time, one per pin: [{values: Float32Array(T), colour}]. */
export function currentStrips(context) {
  return [];
}
