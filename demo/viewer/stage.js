/** Fill an element. */
export function createStage(context, element) {
  element.replaceChildren();
}
