"""The ranges of sigma that bundled schedules were carried to, against the host's own classes."""

import numpy as np
import pytest

from benchmarks import pooled
from benchmarks.latents import FAMILIES

pytestmark = pytest.mark.host


def test_ranges_are_those_of_the_host(comfy):
    """Each family's range of sigma, as the host's classes give it with the settings it uses for the family."""
    import comfy.model_sampling as host

    def sampling(kind, prediction, **settings):
        found = type("Levels", (kind, prediction), {})()
        if settings:
            found.set_parameters(**settings)
        return found

    table = sampling(host.ModelSamplingDiscrete, host.EPS)
    expected = {
        **dict.fromkeys(("sd15", "sdxl", "eps"), table),
        "svd": sampling(host.ModelSamplingContinuousEDM, host.V_PREDICTION, sigma_min=0.002, sigma_max=700.0,
                        sigma_data=1.0),
        "sd3": sampling(host.ModelSamplingDiscreteFlow, host.CONST, shift=3.0),
        "flow": sampling(host.ModelSamplingDiscreteFlow, host.CONST, shift=1.0),
        "flux": sampling(host.ModelSamplingFlux, host.CONST, shift=1.15),
    }
    for family, levels in expected.items():
        known = FAMILIES[family]
        assert (known.high, known.low) == pytest.approx((float(levels.sigma_max), float(levels.sigma_min)), rel=2e-3)
    assert FAMILIES["sdxl-refiner"].high == pytest.approx(float(table.sigmas[199]), rel=5e-3)




def test_what_grids_of_several_flows_are_held_against_is_the_hosts_simple(comfy):
    from benchmarks.bundled_places import FLOW, built_in

    for steps in (3, 10, 25):
        np.testing.assert_allclose(built_in(FLOW, "euler", steps)["simple"], pooled.simple(steps), rtol=3e-3)
    assert np.abs(built_in(FLOW, "euler", 10)["beta"] - pooled.simple(10)).max() > 0.05, "another one is not"
