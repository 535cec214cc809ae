/** Fill an element. */
export function createObjects(context, element) {
  element.replaceChildren();
}
