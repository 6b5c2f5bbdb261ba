/** Making elements. Text is always set as text: names of schedules and values of workflows are foreign. */

const SVG = 'http://www.w3.org/2000/svg';

/**
 * An SVG element.
 * @param {string} tag
 * @param {Object<string, string | number>} [attributes]
 * @param {...(Node | string)} children strings become text
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * An HTML element; attributes that are null or false are left out.
 * @param {string} tag
 * @param {Object<string, string | number | boolean | null>} [attributes]
 * @param {...(Node | string)} children strings become text
 * @returns {HTMLElement}
 */
export function html(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/**
 * A button with a text.
 * @param {string} text
 * @param {() => void} action
 * @returns {HTMLButtonElement}
 */
export function button(text, action) {
  const made = html('button', { type: 'button', class: 'art-button' }, text);
  made.addEventListener('click', action);
  return made;
}
