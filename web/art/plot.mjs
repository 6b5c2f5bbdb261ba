/** The plot: a picture with a status line above and what hovering says below, for mouse and keyboard. */

import { nearest } from './paths.mjs';
import { drawPanels } from './panels.mjs';
import { html, svg } from './svg.mjs';
import { say } from './words.mjs';

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** One plot on the page. `element` goes into a widget or a panel; call destroy() when it leaves. */
export class Plot {
  /** @param {string} status shown until there is a chart */
  constructor(status) {
    this.status = html('div', { class: 'art-status' }, status);
    this.bar = html('div', { class: 'art-bar-fill' });
    this.track = html('div', { class: 'art-bar' }, this.bar);
    this.svg = svg('svg', { 'aria-hidden': 'true', focusable: 'false' });
    // Of an image screen readers would keep the arrow keys for themselves.
    this.picture = html('div', { class: 'art-picture', role: 'application', 'aria-roledescription': say('plot'),
      tabindex: 0, 'aria-label': status }, this.svg);
    this.readout = html('div', { class: 'art-readout' });
    // What screen readers say: the point that a key went to, and not how it moves while a training goes on.
    this.said = html('div', { class: 'art-said', 'aria-live': 'polite' });
    this.actions = html('div', { class: 'art-actions' });
    const parts = [this.status, this.track, this.picture, this.readout, this.said, this.actions];
    this.element = html('div', { class: 'art-plot' }, ...parts);
    this.chart = { alt: status, status, panels: [] };
    this.drawn = [];
    this.at = null;
    this.hint = '';
    this.frame = 0;
    this.listen();
  }

  /**
   * Show a chart; it is drawn with the next frame of the page, however often this is called before.
   * @param {import('./charts.mjs').Chart} chart
   */
  show(chart) {
    this.chart = chart;
    this.request();
  }

  /** Stop listening and drawing; whoever put the element somewhere removes it. */
  destroy() {
    this.observer?.disconnect();
    cancelAnimationFrame(this.frame);
    this.frame = -1;
  }

  /** Go on after destroy(), as when undo puts a node back that it had taken away. */
  resume() {
    if (this.frame !== -1) return;
    this.frame = 0;
    this.observer?.observe(this.picture);
    this.request();
  }

  listen() {
    this.picture.addEventListener('pointermove', (event) => this.hover(event));
    this.picture.addEventListener('pointerleave', () => this.point(null));
    this.picture.addEventListener('blur', () => this.describe(''));
    this.picture.addEventListener('focus', () => this.describe(say('readHint')));
    this.picture.addEventListener('keydown', (event) => this.key(event));
    if (typeof ResizeObserver === 'function') {
      this.observer = new ResizeObserver(() => this.request());
      this.observer.observe(this.picture);
    }
  }

  request() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    const { chart } = this;
    this.status.textContent = chart.status;
    this.status.title = chart.status;
    this.track.classList.toggle('art-hidden', !Number.isFinite(chart.share));
    this.bar.style.width = `${100 * (chart.share ?? 0)}%`;
    // Screen readers would say every new name of what has the focus.
    if (!this.hint) this.picture.setAttribute('aria-label', chart.alt);
    // offsetWidth is in the plot's own pixels: a canvas that is zoomed scales the whole element.
    const [width, height] = [this.picture.offsetWidth, this.picture.offsetHeight];
    if (!width || !height) return;
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.drawn = drawPanels(chart.panels, width, height);
    this.marker = svg('circle', { class: 'art-marker', r: 5, visibility: 'hidden' });
    this.svg.replaceChildren(...this.drawn.map((panel) => panel.element), this.marker);
    this.mark();
  }

  /** The hovered point, if the chart still has it, and what is said of it. */
  mark() {
    const spot = this.at && this.drawn[this.at[0]];
    const point = spot?.panel.hover[this.at[1]];
    this.marker?.setAttribute('visibility', point ? 'visible' : 'hidden');
    this.readout.textContent = point?.text ?? this.hint;
    if (!point) return;
    this.marker.setAttribute('cx', spot.x.at(point.x));
    this.marker.setAttribute('cy', spot.y.at(point.y));
  }

  point(at) {
    this.at = at;
    this.mark();
  }

  /** While it has the focus it says how to read it, where no point is chosen. */
  describe(hint) {
    this.hint = this.drawn.length ? hint : '';
    this.point(null);
  }

  hover(event) {
    const box = this.picture.getBoundingClientRect();
    const scale = box.width / (this.picture.offsetWidth || 1) || 1;
    const [x, y] = [(event.clientX - box.left) / scale, (event.clientY - box.top) / scale];
    const index = this.drawn.findIndex(({ box: { left, right, top, bottom } }) => (
      x >= left - 12 && x <= right + 12 && y >= top - 24 && y <= bottom + 24));
    if (index < 0) return this.point(null);
    const { panel, x: across, y: up } = this.drawn[index];
    if (!panel.hover.length) return this.point(null);
    return this.point([index, nearestPoint(panel.hover.map((spot) => [across.at(spot.x), up.at(spot.y)]), x, y)]);
  }

  key(event) {
    const move = KEYS[event.key];
    if (!move || !this.drawn.length || event.ctrlKey || event.metaKey || event.altKey) return;
    // The arrows would otherwise move the node.
    event.preventDefault();
    event.stopPropagation();
    const [panel, index] = this.at ?? [0, move[0] < 0 ? Infinity : -1];
    const next = Math.min(Math.max(panel + move[1], 0), this.drawn.length - 1);
    const last = this.drawn[next].panel.hover.length - 1;
    if (last < 0) return;
    this.point([next, Math.min(Math.max(index + move[0], 0), last)]);
    this.said.textContent = this.readout.textContent;
  }
}

/** The nearest along x; among several at the same place the nearest along y. */
function nearestPoint(spots, x, y) {
  const column = spots[nearest(spots.map(([left]) => left), x)][0];
  const within = spots.map(([left, top]) => (left === column ? top : Infinity));
  return nearest(within, y);
}
