/** Create the attention of a scene. */
export function createAttention(scene, changed = () => {}) {
  return {};
}
