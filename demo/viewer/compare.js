/** Fill an element. */
export function createCompare(context, element) {}
