() => {
  // A message goes when the next thing is done.
  const clear = (event) => {
    if (event.target.closest?.('.toast-wrap')) return;
    document.querySelectorAll('.toast-close').forEach((close) => close.click());
  };
  document.addEventListener('pointerdown', clear, true);
  document.addEventListener('keydown', clear, true);

  // Accessible names for elements that Gradio leaves unnamed or names differently from their label.
  const set = (element, name, value) => {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  };
  const all = (selector, change) => document.querySelectorAll(selector).forEach(change);
  const mend = () => {
    all('.upload-container[aria-label]', (e) => e.removeAttribute('aria-label'));
    all('.empty[aria-label]', (e) => set(e, 'role', 'img'));
    all('.cm-scroller', (e) => set(e, 'tabindex', '0'));
    all('#seen', (block) => {
      const name = block.querySelector('[data-testid=block-label]')?.textContent.trim() ?? '';
      const picture = block.querySelector('.image-container > button');
      if (picture) set(picture, 'aria-label', name);
      const image = block.querySelector('img');
      if (image) set(image, 'alt', name);
    });
  };
  let waiting = false;
  new MutationObserver(() => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      mend();
    });
  }).observe(document.body, {
    childList: true, subtree: true, attributes: true, attributeFilter: ['aria-label', 'alt'],
  });
  mend();
}
