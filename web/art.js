/** ComfyUI-ART on the page: this file registers, the modules beside it do the work. */

import { addSidebarTab, app, followCache, keepSeed, loadStyle, loadTexts } from './art/host.mjs';
import { offerChoices, refresh } from './art/library.mjs';
import { menuItems } from './art/menu.mjs';
import { pickSchedule } from './art/picker.mjs';
import { redrawRecords } from './art/records.mjs';
import { panelTab } from './art/sidebar.mjs';
import { followTheme } from './art/theme.mjs';
import { makePlace } from './art/toast.mjs';
import { followTrainings, OFFER, putIntoNode, redrawTrainings } from './art/trainings.mjs';
import { addPlot, leaveLost } from './art/widgets.mjs';

async function browse() {
  const name = await pickSchedule();
  if (name !== null) putIntoNode(name);
}

app.registerExtension({
  name: 'ComfyUI-ART',
  commands: [{ id: 'ART.Browse', label: 'Browse learned schedules', icon: 'pi pi-chart-line', function: browse }],
  menuCommands: [{ path: ['Extensions', 'ART'], commands: ['ART.Browse'] }],
  settings: [{
    id: OFFER, name: 'Offer a schedule when it has been learned', category: ['ART', 'Training', 'Offer'],
    type: 'boolean', defaultValue: true,
    tooltip: 'Shows a message with a button that puts the schedule into an ART Sigmas node.',
  }],
  async setup() {
    loadStyle();
    followTheme();
    followCache();
    makePlace();
    await loadTexts();
    followTrainings();
    addSidebarTab(panelTab());
  },
  nodeCreated(node) {
    keepSeed(node);
    offerChoices(node);
    addPlot(node);
  },
  refreshComboInNodes: refresh,
  getNodeMenuItems: menuItems,
  afterConfigureGraph() {
    leaveLost();
    redrawTrainings();
    redrawRecords();
  },
});
