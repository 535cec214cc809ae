/** Fill an element. */
export function createRecorder(context, element) {}
