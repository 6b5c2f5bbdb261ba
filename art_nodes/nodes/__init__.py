"""The pack's nodes, as ComfyUI's V3 API takes them. Imported inside the host only."""

from comfy_api.latest import ComfyExtension

from .compare import ARTCompare
from .demo_model import ARTDemoModel
from .export_schedule import ARTExportSchedule
from .load_schedule import ARTLoadSchedule
from .merge_schedules import ARTMergeSchedules
from .record_orbits import ARTRecordOrbits
from .save_schedule import ARTSaveSchedule
from .schedule_info import ARTScheduleInfo
from .sigmas import ARTSigmas
from .train import ARTTrain

# Every node of the pack, in the order of the menu.
NODES = [
    ARTDemoModel,
    ARTTrain,
    ARTSigmas,
    ARTCompare,
    ARTScheduleInfo,
    ARTLoadSchedule,
    ARTSaveSchedule,
    ARTMergeSchedules,
    ARTExportSchedule,
    ARTRecordOrbits,
]


class ARTExtension(ComfyExtension):
    """What the top-level comfy_entrypoint hands to the host."""

    async def get_node_list(self):
        """The node classes of the pack."""
        return list(NODES)
