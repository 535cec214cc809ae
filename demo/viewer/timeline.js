/** Fill an element. */
export function createTimeline(context, element) {
  element.replaceChildren();
}
