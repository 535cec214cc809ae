/** Listen to keys; return how to stop. */
export function createKeys(context, element) {
  return () => element.removeAttribute('tabindex');
}
