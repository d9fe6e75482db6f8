"""What the report says of the parity task beyond its scores."""

from unrolled.report.wording import Wording

WORDING = Wording(title="Parity of the bits read so far", baselines={"even": "always even"})
