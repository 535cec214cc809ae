// The list of objects: buttons, name fields and menus tell what is wanted as {action, id, …}.
const asked = (event, kind) => event.target.closest(kind + '[data-action]');
element.addEventListener('click', (event) => {
  const button = asked(event, 'button');
  if (button) trigger('select', { action: button.dataset.action, id: button.dataset.id });
});
element.addEventListener('change', (event) => {
  const field = asked(event, 'input');
  if (field) trigger('select', { action: 'rename', id: field.dataset.id, name: field.value });
  const menu = asked(event, 'select');
  if (menu && menu.value !== '') {
    trigger('select', { action: 'merge', id: menu.dataset.id, into: menu.value });
  }
});
