/** Fill an element. */
export function createHierarchy(context, element) {}
