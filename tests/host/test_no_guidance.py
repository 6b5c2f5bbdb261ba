"""What is recorded where positive and negative are the same conditioning, as with models that take no negative."""

import pytest
import torch

from tests.host import schedules, workflows

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def demo(comfy):
    """Model, positive, negative, latent of two pictures."""
    from art_nodes.host.demo_model import demo_outputs

    return demo_outputs(workflows.EDM, "sneaker", 2)[:4]


def train(training, inputs, **settings):
    """A training run of a second, under inference mode as in the host."""
    with torch.inference_mode():
        return training.train(*inputs, **{"seed": 1, "steps": 6, **schedules.QUICK, **settings})


@pytest.mark.parametrize("objective", ["euler", "end:euler"])
def test_the_same_conditioning_for_both_is_no_guidance(training, demo, objective):
    """As models without a negative are wired: what is learned is what cfg 1 gives, and the report says why."""
    model, positive, negative, latent = demo
    again = [[kept.clone(), {**options}] for kept, options in positive]  # as of a second node with the same text
    runs = [train(training, (model, positive, other, latent), name=name, cfg=cfg, objective=objective)
            for name, other, cfg in (("both", again, 7.0), ("one", positive, 1.0), ("guided", negative, 7.0))]
    assert torch.equal(runs[0].sigmas, runs[1].sigmas) and not torch.equal(runs[0].sigmas, runs[2].sigmas)
    assert [run.schedule.provenance["cfg"] for run in runs] == [1.0, 1.0, 7.0]
    assert ["nothing is guided, and cfg 7 is as good as 1" in run.report for run in runs] == [True, False, False]


def test_one_conditioning_that_a_patch_tells_apart_is_guided(comfy, recording, demo):
    """As patches that leave out layers for one of the two, or show pictures to one only; so does the refiner."""
    from comfy.patcher_extension import WrappersMP

    model, positive, *_ = demo
    plain, patched, wrapped, guided = (model.clone() for _ in range(4))
    patched.set_model_unet_function_wrapper(lambda apply, given: apply(given["input"], given["timestep"], **given["c"]))
    wrapped.add_wrapper(WrappersMP.PREDICT_NOISE, lambda executor, *given: executor(*given))
    guided.model_options["transformer_options"]["patches"] = {"attn1_patch": [None]}
    assert [recording.true_cfg(each, positive, positive, 3.0) for each in (plain, patched, wrapped, guided)] == [
        1.0, 3.0, 3.0, 3.0]
    plain.model_options["transformer_options"]["patches_replace"] = {}  # left empty by a node
    assert recording.true_cfg(plain, positive, positive, 3.0) == 1.0
    guided.model_options["transformer_options"] = {"of another pack": torch.zeros(4)}
    assert recording.true_cfg(guided, positive, positive, 3.0) == 3.0
    plain.model = type("SDXLRefiner", (), {})()
    assert recording.true_cfg(plain, positive, positive, 3.0) == 3.0


def test_what_makes_two_conditionings_the_same(comfy, recording):
    text, net = torch.ones(1, 7, 4), object()
    known = [[text, {"pooled_output": torch.zeros(1, 4), "control": net, "strength": 0.5, "area": (1, 2)}]]
    again = [[text.clone(), {"area": (1, 2), "strength": 0.5, "control": net, "pooled_output": torch.zeros(1, 4)}]]
    assert recording.same(known, known) and recording.same(known, again)
    for other in ({"strength": 0.6}, {"control": object()}, {"area": (1, 3)}, {"more": None}, {"area": (1, 2, 3)},
                  {"pooled_output": torch.zeros(1, 5)}, {"pooled_output": torch.zeros(1, 4).half()},
                  {"pooled_output": None}):
        assert not recording.same(known, [[text, {**known[0][1], **other}]]), other
    assert not recording.same(known, [[text + 1, known[0][1]]]) and not recording.same(known, known * 2)
