"""Where things lie in the repository."""

from pathlib import Path

HELPERS = Path(__file__).parent
TESTS = HELPERS.parent
ROOT = TESTS.parent
DATA = TESTS / "data"
CAMPAIGNS = TESTS / "campaigns"
CIFS = ROOT / "workflows" / "cifs"
