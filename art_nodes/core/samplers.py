"""The samplers that can be replayed, by the names that the host has for them; RK4 is the paper's own."""

from .replay import Heun, Replay, Rk4
from .replay_multistep import Deis, Dpmpp2M, ResMultistep, UniPC

REPLAYS: dict[str, type[Replay]] = {
    "euler": Replay, "heun": Heun, "dpmpp_2m": Dpmpp2M, "res_multistep": ResMultistep, "deis": Deis, "uni_pc": UniPC,
    "rk4": Rk4,
}
