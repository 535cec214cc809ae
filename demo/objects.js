// The list of objects: buttons, name fields and menus report {action, id, value}.
const asked = (event, kind) => event.target.closest(kind + '[data-action]');
const ask = (part, value) => trigger('select', { action: part.dataset.action, id: part.dataset.id, value });
element.addEventListener('click', (event) => {
  const button = asked(event, 'button');
  if (button) ask(button, button.dataset.value);
});
element.addEventListener('change', (event) => {
  const field = asked(event, 'input');
  if (field) ask(field, field.value);
  const menu = asked(event, 'select');
  if (menu && menu.value !== '') {
    ask(menu, menu.value);
    menu.value = '';
  }
});

// A menu is filled when it is first used: there may be hundreds, and most are never used.
const fill = (event) => {
  const menu = asked(event, 'select');
  if (!menu || menu.length > 1) return;
  for (const { value, dataset } of element.querySelectorAll('input[data-action]')) {
    if (dataset.id !== menu.dataset.id) menu.add(new Option(value, dataset.id));
  }
};
element.addEventListener('pointerdown', fill);
element.addEventListener('focusin', fill);

// Gradio updates the old list in place, element by element, so the open state of the background
// is kept here, and the focus moves with its object.
let open = false;
let last = null; // the element that had the focus
let place = ''; // selector that finds it again
element.addEventListener('click', (event) => {
  if (event.target.closest('summary')) open = !event.target.closest('details').open;
});
element.addEventListener('focusin', ({ target }) => {
  last = target;
  const { action, id } = target.dataset;
  place = action ? `[data-action="${action}"]` + (id ? `[data-id="${id}"]` : '') : 'summary';
});
new MutationObserver(() => {
  const scenery = element.querySelector('details');
  if (scenery && scenery.open !== open) scenery.open = open;
  const here = document.activeElement;
  const lost = here === document.body && last && !last.isConnected;
  if (!lost && !element.contains(here)) return;
  const same = element.querySelector(place);
  if (same !== here) same?.focus({ preventScroll: true });
}).observe(element, {
  childList: true, subtree: true, attributes: true, attributeFilter: ['data-id', 'data-action', 'open'],
});
