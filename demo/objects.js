// The list of objects: buttons, name fields and menus tell what is wanted as {action, id, value}.
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
  if (menu && menu.value !== '') ask(menu, menu.value);
});

// A menu gets the names of all others when it is used: of hundreds, most never are.
const fill = (event) => {
  const menu = asked(event, 'select');
  if (!menu || menu.length > 1) return;
  for (const { value, dataset } of element.querySelectorAll('input[data-action]')) {
    if (dataset.id !== menu.dataset.id) menu.add(new Option(value, dataset.id));
  }
};
element.addEventListener('pointerdown', fill);
element.addEventListener('focusin', fill);

// Every answer brings a new list: what was open and where the focus was stay.
let open = false;
let last = null;
element.addEventListener('toggle', (event) => (open = event.target.open), true);
element.addEventListener('focusin', (event) => (last = event.target));
new MutationObserver(() => {
  const scenery = element.querySelector('details');
  if (scenery && scenery.open !== open) scenery.open = open;
  if (!last || last.isConnected || document.activeElement !== document.body) return;
  const { action, id } = last.dataset;
  const place = `[data-action="${action}"]` + (id === undefined ? '' : `[data-id="${id}"]`);
  element.querySelector(action ? place : 'summary')?.focus({ preventScroll: true });
}).observe(element, { childList: true, subtree: true });
