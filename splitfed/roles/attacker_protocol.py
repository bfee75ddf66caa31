"""What the server says to an attacker that takes part as a node, and what it answers.

The attacker is handed what every participant is handed: the settings of the cell and the front of each round. In this
laboratory it also shows its work: it is asked for it again and again, and the lab scores it.
"""

from __future__ import annotations

ATTACKER = "attacker"
"""The role of a node that relays the wire and reconstructs."""
FRONT = "query.front"
"""Brings the front of a round, as clients get it; the answer says that the attacker taps this cell's wire."""
FINAL = "query.final"
"""Says that training is over: `final` holds the round and the rows of the audit (`attacker.protocol.Final`)."""
REPORT = "query.report"
"""Asks for news from number `AFTER` on; the answer is a `parcel` of lines of `attacker.protocol.MESSAGES`."""
AFTER = "after"
"""The key under which a report is asked for by the number of lines that were heard."""
SHARE = "query.share"
"""Asks for what identifies its own images and for their means, in a run whose lab has no images
(`scoring_protocol.SharedAuxiliary`)."""
END = "query.end"
"""Says that nothing more is wanted of this cell."""
