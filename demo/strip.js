// The strip of examples: a click, or an address with ?example=NAME, chooses one.
const choose = (name) => trigger('select', { name });
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-example]');
  if (button) choose(button.dataset.example);
});
const wanted = new URLSearchParams(window.location.search).get('example');
const shown = element.querySelector('[data-arrives]').dataset.arrives; // on arrival anyway
if (wanted && wanted !== shown) choose(wanted);
