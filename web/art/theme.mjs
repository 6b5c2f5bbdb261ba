/** Whether the page is dark: hosts differ in the classes that they set, so its background is looked at. */

/**
 * @param {string} color as the browser computes it: "rgb(34, 34, 34)", or "color(srgb 0.1 0.1 0.1)"
 * @returns {boolean} whether light text is read better on it; false for what is no color
 */
export function isDark(color) {
  const parts = (color.match(/[\d.]+/g) ?? []).map(Number);
  if (parts.length < 3) return false;
  const most = color.startsWith('color') ? 1 : 255;
  const [red, green, blue] = parts.map((part) => part / most);
  return 0.299 * red + 0.587 * green + 0.114 * blue < 0.5;
}

/** Keep the class `art-dark` on the page while it is dark, also when the user chooses other colors. */
export function followTheme() {
  const root = document.documentElement;
  if (!root || typeof MutationObserver !== 'function') return;
  const probe = document.createElement('div');
  probe.className = 'art-probe';
  document.body.append(probe);
  const look = () => {
    const dark = isDark(getComputedStyle(probe).backgroundColor);
    if (dark !== root.classList.contains('art-dark')) root.classList.toggle('art-dark', dark);
  };
  const observer = new MutationObserver(look);
  for (const element of [root, document.body]) {
    observer.observe(element, { attributes: true, attributeFilter: ['class', 'style'] });
  }
  look();
}
