() => {
  // Arrow keys step through time wherever the focus is, except in fields that need them.
  document.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const slider = document.querySelector('#position input[type=range]');
    const busy = event.target.closest?.(
      'input, textarea, select, video, [contenteditable], [role=tab], [role=listbox], [role=slider]',
    );
    if (!step || !slider || busy || event.shiftKey || slider.offsetParent === null) return;
    slider.value = Number(slider.value) + step;
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    event.preventDefault();
  });

  // Keyboard access to the large pictures: Shift and arrow keys move a point, Enter clicks it.
  const points = new Map();
  document.addEventListener('keydown', (event) => {
    const picture = event.target.closest?.('#frame .image-container > button, #heat .image-container > button');
    const image = picture?.querySelector('img');
    if (!image) return;
    const [x, y] = points.get(picture) ?? [0.5, 0.5];
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (move && event.shiftKey) {
      const inside = (value) => Math.min(Math.max(value, 0.01), 0.99);
      points.set(picture, [inside(x + move[0] / 40), inside(y + move[1] / 24)]);
      showPoint(picture, image);
    } else if (event.key === 'Enter') {
      const box = image.getBoundingClientRect();
      const place = { clientX: box.left + x * box.width, clientY: box.top + y * box.height };
      image.dispatchEvent(new MouseEvent('click', { bubbles: true, ...place }));
    } else return;
    event.preventDefault();
  });
  const showPoint = (picture, image) => {
    const [x, y] = points.get(picture);
    const mark = picture.querySelector('.bavos-point') ?? picture.appendChild(document.createElement('i'));
    mark.className = 'bavos-point';
    mark.style.left = `${image.offsetLeft + x * image.offsetWidth}px`;
    mark.style.top = `${image.offsetTop + y * image.offsetHeight}px`;
  };

  // Gradio assumes that an enlarged picture is centred at its own size. The click is dispatched again
  // at the place that Gradio maps to the right pixel.
  const sent = new WeakSet();
  window.addEventListener('click', (event) => {
    const image = event.target.closest?.('#frame .image-frame, #heat .image-frame')?.querySelector('img');
    if (!image || sent.has(event)) return;
    const box = image.getBoundingClientRect();
    const { naturalWidth: wide, naturalHeight: high } = image;
    const scale = Math.min(box.width / wide, box.height / high);
    if (scale <= 1) return;
    const place = (at, start, room, side) =>
      start + (room - side) / 2 + (at - start - (room - side * scale) / 2) / scale;
    const again = new MouseEvent('click', {
      bubbles: true,
      cancelable: true,
      clientX: place(event.clientX, box.left, box.width, wide),
      clientY: place(event.clientY, box.top, box.height, high),
    });
    sent.add(again);
    event.stopImmediatePropagation();
    event.target.dispatchEvent(again);
  }, true);

  // Accessible names for elements that Gradio leaves unnamed or names differently from their label.
  const set = (element, name, value) => {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  };
  const all = (selector, change) => document.querySelectorAll(selector).forEach(change);
  const mend = () => {
    all('.thumbnail-item .caption-label', (e) => set(e.parentElement, 'aria-label', e.textContent));
    all('.upload-container[aria-label]', (e) => e.removeAttribute('aria-label'));
    all('.empty[aria-label]', (e) => set(e, 'role', 'img'));
    // A lazy picture below the window has no height until it is scrolled to, and then shifts the page.
    all('img[loading=lazy]', (e) => set(e, 'loading', 'eager'));
    all('.cm-scroller', (e) => set(e, 'tabindex', '0'));
    all('#frame, #heat, #seen', (block) => {
      const name = block.querySelector('[data-testid=block-label]')?.textContent.trim() ?? '';
      const picture = block.querySelector('.image-container > button');
      const how = '. Shift and arrow keys move a point, Enter clicks it.';
      if (picture) set(picture, 'aria-label', block.id === 'seen' ? name : name + how);
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
