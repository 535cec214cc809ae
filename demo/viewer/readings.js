/** Fill an element. */
export function createReadings(context, element) {}
