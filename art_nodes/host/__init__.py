"""What touches ComfyUI: its models, guiders and samplers. Imported inside the host only, but for families.py."""
