"""What touches ComfyUI: its models, guiders and samplers. Imported inside the host only."""
