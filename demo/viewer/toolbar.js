/** Fill an element. */
export function createToolbar(context, element) {
  element.replaceChildren();
}
