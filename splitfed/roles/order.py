"""What the lab orders from a federation: one cell, to be trained and attacked."""

from __future__ import annotations

from pydantic import Field, model_validator

from splitfed.config.scenario import Cell, Scenario
from splitfed.federation.job import Job
from splitfed.records.record import Record
from splitfed.types import ImageShape

RUN_CONFIG_KEY = "order"
"""The key of Flower's run config under which an order travels."""
MOST_RUN_CHARACTERS = 128


class Order(Record):
    """One cell of a scenario.

    Attributes:
        run: names the cell on the wire and in the parties' folders.
        key: known to the lab and the server alone: who shows it is told how it goes. A cell that is ordered again under
            the same name and key goes on from its last finished round.
        scenario: the whole experiment, as JSON.
        cell: the defense and the seed, as JSON.
        shape: of one image: channels, height, width; all zeros where the clients are to say it.
        classes: how many there are; 0 where the clients are to say it.
    """

    run: str = Field(min_length=1, max_length=MOST_RUN_CHARACTERS)
    key: str = Field(min_length=16, repr=False)
    scenario: str
    cell: str
    shape: tuple[int, int, int]
    classes: int = Field(ge=0)

    @model_validator(mode="after")
    def _says_what_is_trained(self) -> Order:
        if self.classes < 2 and self.job("").scenario.truth != "clients":
            raise ValueError(f"classes is {self.classes}; expected at least 2, as the lab has the images")
        return self

    @classmethod
    def of(cls, job: Job, key: str) -> Order:
        """The order of this job."""
        return cls(
            run=job.run,
            key=key,
            scenario=job.scenario.model_dump_json(),
            cell=job.cell.model_dump_json(),
            shape=(job.shape.channels, job.shape.height, job.shape.width),
            classes=job.classes,
        )

    def job(self, secret: str) -> Job:
        """The job of a server whose clients' tokens are derived from this secret."""
        return Job(
            run=self.run,
            scenario=Scenario.model_validate_json(self.scenario),
            cell=Cell.model_validate_json(self.cell),
            shape=ImageShape(*self.shape),
            classes=self.classes,
            secret=secret,
        )
