// Small helpers for elements.

/** Make an element: attributes, `on…` listeners, properties with a leading dot, and children. */
export function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (name.startsWith('.')) made[name.slice(1)] = value;
    else made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const PATHS = {
  play: 'M5 3.5v9l7.5-4.5z',
  pause: 'M4.5 3.5h2.5v9H4.5zM9 3.5h2.5v9H9z',
  undo: 'M6.5 3 3 6.5 6.5 10M3.5 6.5h5.5a3.5 3.5 0 0 1 0 7H6',
  redo: 'M9.5 3 13 6.5 9.5 10M12.5 6.5H7a3.5 3.5 0 0 0 0 7h3',
  eye: 'M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4z',
  hidden: 'M2 2l12 12M6.2 4a6 6 0 0 1 1.8-.3c4 0 6.5 4.3 6.5 4.3a12 12 0 0 1-2 2.5M4 5.4A12 12 0 0 0 1.500 8S4 12.300 8 12.300a6 6 0 0 0 2.700-.600',
  split: 'M8 14V9M8 9 3.500 4.500M8 9l4.500-4.500M3.500 8V4.500H7M12.500 8V4.500H9',
  merge: 'M8 2v5M8 7l-4.500 5M8 7l4.500 5M5.500 4.500 8 2l2.500 2.500',
  scenery: 'M2 12.500 6 6l3 4.500 2-3 3 5zM11.500 5a1.200 1.200 0 1 0 0-.010',
  object: 'M8 2l5.500 3v6L8 14l-5.500-3V5zM2.500 5 8 8l5.500-3M8 8v6',
  divider: 'M8 2v12M2.500 4.500h3v7h-3zM10.500 4.500h3v7h-3z',
  help: 'M6 6a2 2 0 1 1 2.700 1.900c-.500.200-.700.600-.700 1.100v.500M8 12v.200',
  export: 'M8 2v8M5 7l3 3 3-3M3 11.500V14h10v-2.500',
  tag: 'M2.500 8.500v-6h6l5 5-6 6zM5.500 5.500v.010',
  close: 'M4 4l8 8M12 4l-8 8',
};

/** Make a picture of 16×16 that says what a button does; the button carries the words. */
export function icon(name, filled = false) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  for (const [key, value] of Object.entries({ viewBox: '0 0 16 16', width: 16, height: 16, 'aria-hidden': 'true' })) {
    svg.setAttribute(key, value);
  }
  svg.setAttribute('class', filled ? 'icon filled' : 'icon');
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}

/** Make a button with an icon, its words and its key as a tooltip. */
export function iconButton(name, words, run, { key = '', filled = false, ...attributes } = {}) {
  const title = key ? `${words} (${key})` : words;
  return h('button', { type: 'button', class: 'tool', 'aria-label': words, title, onclick: run, ...attributes }, icon(name, filled));
}

/** Set an attribute only where it differs, so that nothing is laid out for nothing. */
export function setAttribute(element, name, value) {
  const text = value === false || value === null ? null : String(value);
  if (element.getAttribute(name) === text) return;
  if (text === null) element.removeAttribute(name);
  else element.setAttribute(name, text);
}

/** Set the text of an element only where it differs. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Make a group of radio buttons that look like one control; choices {value: label}. */
export function segmented(name, label, choices, choose) {
  const group = h('div', { class: 'segmented', role: 'radiogroup', 'aria-label': label });
  const fields = {};
  for (const [value, words] of Object.entries(choices)) {
    const field = h('input', { type: 'radio', name: `bavos-${name}`, value, onchange: () => choose(value) });
    fields[value] = field;
    group.append(h('label', {}, field, h('span', {}, words)));
  }
  return { element: group, show(value) { if (fields[value] && !fields[value].checked) fields[value].checked = true; } };
}

/** Run with the size of an element in CSS pixels now and whenever it changes; return how to stop. */
export function watchSize(element, run) {
  const observer = new ResizeObserver(([{ contentRect }]) => run(contentRect.width, contentRect.height));
  observer.observe(element);
  return () => observer.disconnect();
}

/** Return a number with its noun, in the plural unless it is one. */
export function counted(number, noun) {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

/** Return seconds as m:ss.cc. */
export function clock(seconds) {
  const whole = Math.floor(seconds / 60);
  return `${whole}:${(seconds - whole * 60).toFixed(2).padStart(5, '0')}`;
}
