"""Ground states by what stands in for DFT, as tests ask for them."""

from campaign_runs import run_campaign
from places import CAMPAIGNS

from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import read_campaign
from lycb_flows.config import Campaign

# Whatever can relax goes here; each runs the whole flow on 20 candidates of both parents.
LABELERS = {
    "teacher": {"type": "teacher", "model": "toy-teacher"},
    "vasp": {"type": "vasp", "theory": "paper-relax", "stand_in": True},
}


def ground_states(**dft):
    """The campaign of both parents, with other wishes for DFT."""
    data = read_campaign(CAMPAIGNS / "ground_states.yaml").model_dump()
    data["ranking"]["dft"] |= dft
    return Campaign.model_validate(data)


def one_parent(name="LYC", **dft):
    """A short list of one parent."""
    campaign = ground_states(**{"n": 5, "limit": 5} | dft)
    systems = [one for one in campaign.systems if one.name == name]
    return campaign.model_copy(update={"systems": tuple(systems)})


def rank(store, campaign):
    """The results of a campaign's structures, and its jobs' names."""
    submission, names = run_campaign(store, campaign, ranking_only=True)
    return find_results(store, submission.campaign, submission.theory), names


CONTRARY = {
    "labeler": {"type": "teacher", "model": "toy-soft"},
    "relaxation": {"fmax_ev_per_ang": 1000.0, "max_steps": 1},  # none moves
    "widen": 4,
}


def contrary(label):
    """The energy's sign is wrong: the last of the model's order is the first."""

    def label_contrary(self, structure):
        found = label(self, structure)
        return found.model_copy(update={"energy_ev": -found.energy_ev})

    return label_contrary
