/** Which keys elements of ours keep from the host, which takes single keys as commands to the selected nodes. */

/** With Ctrl these are for text and lists; the host would copy, delete or select nodes. */
const OWN = /^([acvx]|arrow.*|home|end|delete|backspace)$/i;

/**
 * Keep the keys that are pressed inside an element, but for commands to the whole page such as Ctrl+Enter and Ctrl+S.
 * @param {HTMLElement} element
 */
export function keepKeys(element) {
  element.addEventListener('keydown', (event) => {
    const isCommand = (event.ctrlKey || event.metaKey) && !OWN.test(event.key);
    if (!isCommand) event.stopPropagation();
  });
}
